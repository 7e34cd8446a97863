// Live updates: one event stream, shared by all pages.

export interface Notice { readonly kind: string; readonly target: number | null }

type Listener = (notice: Notice) => void;

const listeners = new Set<Listener>();
const KINDS = ["target", "capture", "finding", "observation", "rule", "action", "notification", "oom-kill", "probe", "warning"] as const;

export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Connects; `show` is told whether the stream is open. The browser reconnects by itself. */
export function connect(show: (isOpen: boolean) => void): void {
  const source = new EventSource("/api/v1/events");
  source.onopen = () => show(true);
  source.onerror = () => show(false);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      const data: unknown = JSON.parse((event as MessageEvent<string>).data);
      const target = typeof data === "object" && data !== null && "target" in data ? data.target : null;
      const notice = { kind, target: typeof target === "number" ? target : null };
      for (const listener of listeners) listener(notice);
    });
  }
}

/** Calls `work` now and then, at most once in `ms`, however often it is asked for. */
export function throttled(ms: number, work: () => void): () => void {
  let timer: number | undefined;
  return () => {
    if (timer !== undefined) return;
    timer = window.setTimeout(() => {
      timer = undefined;
      work();
    }, ms);
  };
}
