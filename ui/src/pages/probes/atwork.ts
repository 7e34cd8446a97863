// A probe while it looks: what it has found so far, again each second.

import { ApiFailure, type Frame, get, getBytes } from "../../api";
import { h } from "../../dom";
import { bytes, percent, span } from "../../format";
import { decode, layout } from "../../msf";
import { PathIds } from "../../pathid";
import { KINDS, type Figures, type FoundSite, type Picture, type Run, type SoFar } from "../../probesapi";
import { Chart, type Line } from "../../widgets/chart";
import { Flame } from "../../widgets/flame";

const EVERY_MS = 1000;
/** The first picture is made once somebody asks; it is asked for so many times more often. */
const FIRST_MS = 250;
const FIRST_POLLS = 20;
/** Rates are those of the last so many seconds. */
const RECENT_SECONDS = 3;
const ROWS = 25;
const LIVE = "inuse_space";
const ALLOCATED = "alloc_space";

export class AtWork {
  readonly element: HTMLElement;
  private readonly path: string;
  private readonly time = h("span", { class: "dim" });
  private readonly rates = h("p", { class: "figures", "data-testid": "rates" });
  private readonly chart: Chart;
  private readonly graph = h("div", { "data-testid": "live-graph" });
  private readonly sites = h("div");
  private readonly hold = h("input", { type: "checkbox" });
  private readonly buttons: readonly HTMLButtonElement[];
  private flame: { readonly shown: Flame; readonly ids: PathIds } | null = null;
  private zoom = "";
  private sample = LIVE;
  private shown = "";
  private timer = 0;
  private polls = 0;
  private isClosed = false;

  constructor(private readonly run: Run) {
    this.path = `/targets/${run.target}/probes/${run.kind}`;
    this.chart = new Chart("bytes", 140, bytes, "binary", () => undefined, (seconds) => span(seconds / 1000));
    const button = (sample: string, text: string): HTMLButtonElement =>
      h("button", { type: "button", "aria-pressed": String(sample === this.sample), click: () => this.choose(sample) }, text);
    this.buttons = [button(LIVE, run.kind === "alloc" ? "what lives" : "what is not freed"), button(ALLOCATED, "what was allocated")];
    const tools = h("div", { class: "tools" }, h("span", { class: "group" }, ...this.buttons), h("label", {}, this.hold, " hold the graph still"));
    // The others count in the kernel, and tell at the end.
    const showsMeanwhile = run.kind === "alloc" || run.kind === "native";
    const shown = showsMeanwhile ? [this.rates, this.chart.element, tools, this.graph, this.sites] : [h("p", {}, `${run.seconds} s; what it saw is shown when it ends`)];
    this.element = h("section", { class: "card", "data-testid": "at-work" },
      h("h3", {}, `${KINDS[run.kind].what} of `, h("a", { href: `/target/${run.target}` }, run.name), h("span", { class: "dim" }, ` asked for by ${asker(run)} · `), this.time),
      ...shown);
    if (showsMeanwhile) void this.poll();
  }

  close(): void {
    this.isClosed = true;
    window.clearTimeout(this.timer);
    this.flame?.shown.close();
    this.chart.close();
  }

  private async poll(): Promise<void> {
    let wait = EVERY_MS;
    try {
      const soFar = await get<SoFar>(this.path);
      if (this.isClosed) return;
      await this.show(soFar);
      this.polls += 1;
      if (soFar.picture === null && this.polls < FIRST_POLLS) wait = FIRST_MS;
    } catch (error) {
      // It has ended, and the page closes this with what it found; or the server does not answer.
      if (!(error instanceof ApiFailure)) throw error;
    }
    if (!this.isClosed) this.timer = window.setTimeout(() => void this.poll(), wait);
  }

  private async show(soFar: SoFar): Promise<void> {
    const { figures, picture } = soFar;
    const last = figures.at(-1);
    if (last) {
      this.time.textContent = `${last.seconds.toFixed(0)} of ${soFar.seconds} s`;
      this.rates.replaceChildren(...told(figures, last, picture, this.run.kind));
      this.chart.show({ times: figures.map(({ seconds }) => seconds * 1000), lines: lines(figures, this.run.kind), marks: [], bands: [], level: null });
    }
    if (!picture) return;
    this.sites.replaceChildren(table(picture, this.run.kind));
    const version = `${picture.seconds} ${this.sample}`;
    if (this.shown === version || (this.hold.checked && this.flame)) return;
    const buffer = await getBytes(`${this.path}/flame?sample=${this.sample}`);
    if (this.isClosed) return;
    this.shown = version;
    this.draw(buffer);
  }

  /** Another graph in the place of the last one, zoomed to the same function. */
  private draw(buffer: ArrayBuffer): void {
    const tree = layout(decode(buffer));
    const ids = new PathIds(tree);
    this.flame?.shown.close();
    const shown = new Flame(tree, {
      unit: "bytes",
      zoom: Math.max(0, ids.find(this.zoom)),
      relative: false,
      isFlame: false,
      label: "live-flame",
      onZoom: (node) => {
        this.zoom = ids.of(node);
      },
      onMenu: () => undefined,
    });
    this.flame = { shown, ids };
    this.graph.replaceChildren(shown.element);
  }

  private choose(sample: string): void {
    this.sample = sample;
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String([LIVE, ALLOCATED][index] === sample)));
    this.hold.checked = false;
    window.clearTimeout(this.timer);
    void this.poll();
  }
}

function asker(run: Run): string {
  return run.reason === "manual" ? "hand" : `the rule ${run.reason}`;
}

/** What there is yet of what was allocated. */
function lives(kind: Run["kind"]): string {
  return kind === "native" ? "not freed" : "live";
}

/** The figures of this moment, and those of some seconds before. */
function recent(figures: readonly Figures[]): { readonly now: Figures; readonly then: Figures; readonly seconds: number } | null {
  const now = figures.at(-1);
  const then = now && (figures.findLast(({ seconds }) => seconds <= now.seconds - RECENT_SECONDS) ?? figures[0]);
  return now && then && then !== now ? { now, then, seconds: Math.max(1e-9, now.seconds - then.seconds) } : null;
}

/** What was allocated of malloc is known only of when somebody looked. */
function looked(figures: readonly Figures[]): readonly Figures[] {
  return figures.filter(({ allocated }) => allocated);
}

/** What goes on now, in words. */
function told(figures: readonly Figures[], last: Figures, picture: Picture | null, kind: Run["kind"]): HTMLElement[] {
  const rate = (of: readonly Figures[], what: (each: Figures) => number | null | undefined, shown: (rate: number) => string): string => {
    const apart = recent(of);
    const [now, then] = [apart && what(apart.now), apart && what(apart.then)];
    return typeof now !== "number" || typeof then !== "number" ? "-" : shown((now - then) / (apart?.seconds ?? 1));
  };
  const count = (rate: number): string => rate.toLocaleString("en", { maximumFractionDigits: 1 });
  const figure = (name: string, text: string): HTMLElement => h("span", { class: "figure" }, h("b", {}, text), ` ${name}`);
  const lost = Object.values(last.losses).reduce((sum, count) => sum + count, 0);
  const known = looked(figures);
  const parts = [
    figure("allocated a second", rate(known, ({ allocated }) => allocated?.bytes, bytes)),
    figure("samples a second", rate(known, ({ allocated }) => allocated?.samples, count)),
    figure("deaths a second", rate(known, ({ deaths }) => deaths, count)),
  ];
  if (kind === "native") parts.push(figure("calls a second", rate(figures, ({ seen }) => seen, count)));
  const live = picture?.live ?? last.live;
  if (live) parts.push(figure(lives(kind), `${bytes(live.bytes)} ± ${bytes(live.bytes_error)}`));
  parts.push(figure("lost", lost.toLocaleString("en")), figure("of a core for the probe", percent(last.cost_seconds, last.seconds)));
  return parts;
}

function lines(figures: readonly Figures[], kind: Run["kind"]): readonly Line[] {
  let before: Figures | null = null;
  const perSecond = figures.map((each) => {
    if (!each.allocated) return null;
    const rate = before?.allocated ? (each.allocated.bytes - before.allocated.bytes) / Math.max(1e-9, each.seconds - before.seconds) : null;
    before = each;
    return rate;
  });
  return [
    { name: "allocated", label: "allocated a second", hue: 30, values: perSecond },
    { name: "live", label: lives(kind), hue: 210, values: figures.map(({ live }) => live?.bytes ?? null) },
  ];
}

function table(picture: Picture, kind: Run["kind"]): HTMLElement {
  const head = [lives(kind), "±", "allocated", "freed", "half live", "oldest"];
  const number = (text: string): HTMLElement => h("td", { class: "num" }, text);
  const row = (site: FoundSite): HTMLElement => {
    const { live, allocated } = site;
    const lifetime = site.lifetime_median_seconds === null ? "longer" : span(site.lifetime_median_seconds);
    const age = site.oldest_seconds === null ? "-" : span(site.oldest_seconds);
    const figures = [bytes(live.bytes), bytes(live.bytes_error), bytes(allocated.bytes), percent(site.freed_share, 1), lifetime, age];
    return h("tr", {}, ...figures.map(number),
      h("td", { class: "mono", title: site.stack.map(({ function: name }) => name).join("\n") }, site.site ? place(site.site) : "unknown"));
  };
  const more = picture.omitted + Math.max(0, picture.sites.length - ROWS);
  return h("div", {},
    h("table", { "data-testid": "live-sites" },
      h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { class: "num" }, text)), h("th", {}, "site"))),
      h("tbody", {}, ...picture.sites.slice(0, ROWS).map(row))),
    more > 0 ? h("p", { class: "dim" }, `and ${more.toLocaleString("en")} more stacks`) : null);
}

function place({ function: name, file, line }: Frame): string {
  return file ? `${name} ${file.slice(file.lastIndexOf("/") + 1)}:${line}` : name;
}
