// One target: its verdict, its memory over time, its captures.

import { ApiFailure, type Capture, type Diagnosis, type Series, type Status, type Target, get, post } from "../api";
import { h } from "../dom";
import { bytes, clock, day } from "../format";
import { listen, throttled } from "../live";
import { type Page, navigate } from "../router";
import { type Band, Chart, type Line, type Mark } from "../widgets/chart";
import { diagnosisCards, verdict } from "./parts";

const MEMORY: readonly (readonly [string, string, number])[] = [
  ["rss_bytes", "resident", 260],
  ["heap_in_use_bytes", "heap in use", 30],
  ["heap_live_bytes", "live heap after GC", 0],
  ["heap_idle_bytes", "heap idle", 190],
  ["stacks_bytes", "stacks", 130],
];
const COUNTS: readonly (readonly [string, string, number])[] = [["goroutines", "goroutines", 210]];
const CAPTURES_SHOWN = 60;
const TRACE_SECONDS = 5;

export async function target(id: number): Promise<Page> {
  const memory = new Chart("memory over time", 260, bytes, "binary", navigate);
  const counts = new Chart("goroutines over time", 110, (value) => Math.round(value).toLocaleString("en"), "whole", navigate);
  const head = h("div", { class: "tools" });
  const findings = h("div", { "data-testid": "findings" });
  const captures = new CaptureList(id);
  const status = await get<Status>("/status");
  const refresh = async (): Promise<void> => {
    const [about, series, list, diagnosis] = await Promise.all([
      get<Target>(`/targets/${id}`),
      get<Series>(`/targets/${id}/series`),
      get<readonly Capture[]>(`/targets/${id}/captures?limit=400`),
      get<Diagnosis | null>(`/targets/${id}/diagnosis`),
    ]);
    head.replaceChildren(...heading(about), h("a", { href: `/target/${id}/runtime`, "data-testid": "runtime" }, "runtime and resident memory"));
    findings.replaceChildren(...diagnosisCards(diagnosis));
    captures.show(list, { snapshot: status.snapshots && about.alive && about.pid !== null, trace: status.traces && about.alive });
    const lines = (names: typeof MEMORY): Line[] =>
      names.map(([name, label, hue]) => ({ name, label, hue, values: series.series[name] ?? [] }));
    // Figures are taken with the profiles: their marks would only cover those.
    const marks: Mark[] = list.filter(({ kind }) => !isFigures(kind)).map((capture) => ({
      time: capture.time_ms,
      label: `${LABELS[capture.kind] ?? capture.kind} ${clock(capture.time_ms)}`,
      href: page(id, capture),
    }));
    const limit = about.latest["limit_bytes"] ?? about.latest["gomemlimit_bytes"] ?? null;
    const level = limit === null ? null : { value: limit, label: "limit" };
    const bands = diagnosis ? [band(diagnosis, series)] : [];
    memory.show({ times: series.times, lines: lines(MEMORY), marks, bands, level });
    counts.show({ times: series.times, lines: lines(COUNTS), marks: [], bands: [], level: null });
  };
  const element = h("div", {}, head, findings, h("h2", {}, "Memory"), memory.element,
    h("h2", {}, "Goroutines"), counts.element, h("h2", {}, "Captures"), captures.element);
  await refresh();
  const later = throttled(1500, () => void refresh());
  const stop = listen((notice) => {
    if (notice.target === id) later();
  });
  const close = (): void => {
    stop();
    memory.close();
    counts.close();
  };
  return { element, close };
}

function heading(about: Target): HTMLElement[] {
  const labels = ["go_version", "module", "exe"].flatMap((name) => about.labels[name] ?? []);
  const ended = about.alive ? "" : `ended ${day(about.last_seen_ms)}`;
  return [
    h("h1", {}, about.name),
    h("span", { class: "dim" }, about.pid === null ? about.spec : `pid ${about.pid}`),
    verdict(about.verdict, about.leak, about.confidence),
    h("span", { class: "dim" }, [...labels, ended].filter(Boolean).join(" · ")),
  ];
}

function band(diagnosis: Diagnosis, series: Series): Band {
  const from = Math.max(diagnosis.time_ms - diagnosis.span_seconds * 1000, series.times[0] ?? 0);
  const isBad = diagnosis.findings.some((finding) => finding.leak && finding.confidence >= 0.5);
  return { from, to: diagnosis.time_ms, label: diagnosis.verdict.replaceAll("-", " "), isBad };
}

const LABELS: Readonly<Record<string, string>> = {
  heap: "heap profile", goroutine: "goroutine profile", graph: "object graph", trace: "execution trace",
  alloc: "sampled objects", native: "malloc, not freed",
};
/** How files of a kind end. */
const ENDS: Readonly<Record<string, string>> = { graph: "heap", trace: "trace", runtime: "json.gz", rss: "json.gz" };

function isFigures(kind: string): boolean {
  return kind === "runtime" || kind === "rss";
}

/** The page that shows a capture. */
function page(target: number, capture: { readonly id: number; readonly kind: string }): string {
  if (isFigures(capture.kind)) return `/target/${target}/runtime?${capture.kind}=${capture.id}`;
  const pages: Readonly<Record<string, string>> = { graph: "heap", trace: "trace" };
  return `/${pages[capture.kind] ?? "capture"}/${capture.id}`;
}

/** Kinds of which two can be compared. */
function isComparable(kind: string): boolean {
  return !isFigures(kind) && kind !== "trace";
}

/** The captures, two of which can be chosen for comparison. */
class CaptureList {
  readonly element: HTMLElement;
  private readonly body = h("tbody");
  private readonly compare: HTMLButtonElement;
  private readonly take: HTMLButtonElement;
  private readonly trace: HTMLButtonElement;
  private readonly taken = h("span", { "aria-live": "polite" });
  private chosen: Capture[] = [];

  constructor(private readonly target: number) {
    this.compare = h("button", { type: "button", disabled: true, "data-testid": "compare", click: () => this.open() }, "compare the two");
    this.take = h("button", { type: "button", hidden: true, "data-testid": "snapshot",
      title: "of its objects: the program stands still for milliseconds", click: () => void this.record("graph", "taking it ...") }, "take a snapshot");
    this.trace = h("button", { type: "button", hidden: true, "data-testid": "record",
      title: "through its /debug/pprof/trace", click: () => void this.record(`trace?seconds=${TRACE_SECONDS}`, `recording for ${TRACE_SECONDS} s ...`) },
      `trace ${TRACE_SECONDS} s`);
    this.element = h(
      "div",
      { "data-testid": "captures" },
      h("div", { class: "tools" }, this.compare, h("span", { class: "dim" }, "choose two captures of one kind to see what changed"), this.take, this.trace, this.taken),
      h("table", {}, h("thead", {}, h("tr", {}, h("th"), h("th", {}, "taken"), h("th", {}, "kind"), h("th", {}, "why"),
        h("th", { class: "num" }, "size"), h("th", { class: "num" }, "CPU cost"), h("th"))), this.body),
    );
  }

  show(captures: readonly Capture[], may: { readonly snapshot: boolean; readonly trace: boolean }): void {
    this.take.hidden = !may.snapshot;
    this.trace.hidden = !may.trace;
    this.chosen = this.chosen.filter(({ id }) => captures.some((capture) => capture.id === id));
    const shown = captures.slice(0, CAPTURES_SHOWN);
    // The oldest ones are what growth is compared with.
    const oldest = captures.slice(CAPTURES_SHOWN).slice(-4);
    this.body.replaceChildren(...[...shown, ...oldest].map((capture) => this.row(capture)));
    this.mark();
  }

  private row(capture: Capture): HTMLElement {
    const box = h("input", { type: "checkbox", "aria-label": `choose capture ${capture.id}`, change: () => this.choose(capture, box.checked) });
    box.disabled = !isComparable(capture.kind);
    box.checked = this.chosen.some(({ id }) => id === capture.id);
    return h(
      "tr",
      {},
      h("td", {}, box),
      h("td", {}, h("a", { href: page(this.target, capture) }, clock(capture.time_ms))),
      h("td", {}, capture.kind),
      h("td", {}, capture.reason),
      h("td", { class: "num" }, bytes(capture.bytes)),
      h("td", { class: "num" }, `${(capture.cost_micros / 1000).toFixed(1)} ms`),
      h("td", {}, h("a", { href: `/api/v1/captures/${capture.id}/profile`, download: `target${this.target}-${capture.id}.${ENDS[capture.kind] ?? "pb.gz"}` }, "download")),
    );
  }

  private choose(capture: Capture, isChosen: boolean): void {
    this.chosen = this.chosen.filter(({ id }) => id !== capture.id);
    if (isChosen) this.chosen.push(capture);
    this.mark();
  }

  private mark(): void {
    const [one, other] = this.chosen;
    const isGraph = (capture: Capture | undefined): boolean => capture?.kind === "graph";
    this.compare.disabled = this.chosen.length !== 2 || isGraph(one) !== isGraph(other);
  }

  private open(): void {
    const [older, newer] = this.chosen.toSorted((a, b) => a.id - b.id);
    if (older && newer) navigate(`${page(this.target, newer)}?base=${older.id}`);
  }

  /** Has something taken and shows it. */
  private async record(what: string, working: string): Promise<void> {
    this.take.disabled = this.trace.disabled = true;
    this.taken.textContent = working;
    try {
      const capture = await post<Capture>(`/targets/${this.target}/${what}`);
      this.taken.textContent = "";
      navigate(page(this.target, capture));
    } catch (error) {
      const next = error instanceof ApiFailure ? error.next : "";
      this.taken.replaceChildren(h("span", { class: "error" }, [error instanceof Error ? error.message : String(error), next].filter(Boolean).join(": ")));
    }
    this.take.disabled = this.trace.disabled = false;
  }
}
