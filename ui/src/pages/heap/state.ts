// What the page shows, all of it in the address: a link restores it.

export const VIEWS = ["types", "dominators", "treemap", "roots", "goroutines", "objects", "why", "changes"] as const;
export type ViewName = (typeof VIEWS)[number];

/** Parameters that belong to one view: another view starts without them. */
const POSITION_KEYS: readonly string[] = ["q", "sort", "node", "path", "open", "type", "object", "find", "order", "zoom"];

export class State {
  constructor(readonly query: URLSearchParams) {}

  get(key: string): string {
    return this.query.get(key) ?? "";
  }

  view(): ViewName {
    return VIEWS.find((name) => name === this.get("view")) ?? (this.get("base") && !this.get("view") ? "changes" : "types");
  }

  base(): string {
    return /^\d+$/.test(this.get("base")) ? this.get("base") : "";
  }

  /** With changes; the empty string removes a key. A change of view drops positions. */
  with(changes: Readonly<Record<string, string>>): State {
    const query = new URLSearchParams(this.query);
    if ("view" in changes) POSITION_KEYS.forEach((key) => query.delete(key));
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    return new State(query);
  }
}

const UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, k: 1024, kb: 1024, kib: 1024, m: 1024 ** 2, mb: 1024 ** 2, mib: 1024 ** 2, g: 1024 ** 3, gb: 1024 ** 3, gib: 1024 ** 3 };

/** A search: `main.Order >1KiB` is a text and a size. */
export function parseSearch(text: string): { readonly text: string; readonly bytesMin: string } {
  let bytesMin = "";
  const rest = text.replace(/(?:^|\s)>=?\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b?)(?=\s|$)/i, (all, number: string, unit: string) => {
    const factor = UNITS[unit.toLowerCase()];
    if (factor === undefined) return all;
    bytesMin = String(Math.round(Number(number) * factor));
    return "";
  });
  return { text: rest.trim(), bytesMin };
}
