// The machine's processes in time: when each began and ended, how, and the most memory it held.

import { ApiFailure, get } from "../../api";
import { h } from "../../dom";
import { bytes, clock, day } from "../../format";
import type { Life, Lives } from "../../probesapi";
import { type Page, replaceQuery } from "../../router";
import { type Column, Rows } from "../../widgets/rows";
import { LivesCanvas } from "./canvas";
import { type Order, end, isBad, lived, ordered } from "./words";

const REFRESH_MS = 2000;
/** Typing goes on for this long before it is asked for. */
const TYPING_MS = 300;
const MINUTE = 60_000;
const SPANS: readonly (readonly [number, string])[] = [[MINUTE, "last minute"], [10 * MINUTE, "last 10 minutes"], [60 * MINUTE, "last hour"], [24 * 60 * MINUTE, "last day"]];
const ORDERS: readonly (readonly [Order, string])[] = [["family", "below their parents"], ["start", "by their beginning"], ["peak", "by their peak"]];
const LIMIT = 1000;

/** What is shown; all of it is in the address. */
interface State {
  /** Up to now, and on. */
  readonly span: number;
  /** Or this time only. */
  readonly fixed: { readonly from: number; readonly until: number } | null;
  readonly name: string;
  readonly order: Order;
}

export async function processes(query: URLSearchParams): Promise<Page> {
  const view = new Processes(read(query));
  await view.refresh();
  return { element: view.element, close: () => view.close() };
}

function read(query: URLSearchParams): State {
  const number = (key: string): number => Number(query.get(key) ?? "");
  const [from, until] = [number("from"), number("until")];
  const order = ORDERS.find(([key]) => key === query.get("order"))?.[0] ?? "family";
  return { span: number("span") || 10 * MINUTE, fixed: from > 0 && until > from ? { from, until } : null, name: query.get("name") ?? "", order };
}

class Processes {
  readonly element: HTMLElement;
  private readonly canvas: LivesCanvas;
  private readonly rows: Rows<Life>;
  private readonly observer: ResizeObserver;
  private readonly about = h("p", { class: "dim", "data-testid": "about" });
  private readonly details = h("div", { "data-testid": "details" });
  private readonly range = h("span");
  private readonly fault = h("span", { class: "error", role: "status" });
  private readonly span: HTMLSelectElement;
  private lives: Lives | null = null;
  private picked: number | null = null;
  private timer = 0;
  private turn = 0;

  constructor(private state: State) {
    this.canvas = new LivesCanvas({ select: (from, until) => this.change({ fixed: { from: Math.floor(from), until: Math.ceil(until) } }), pick: (life) => this.pick(life) });
    this.rows = new Rows<Life>(columns(() => this.lives?.until_ms ?? Date.now()), { label: "processes", sort: "peak", onSort: () => undefined, onPick: (life) => this.pick(life) });
    this.observer = new ResizeObserver(() => this.rows.draw(true));
    this.observer.observe(this.rows.element);
    const option = (value: string, text: string, isChosen: boolean): HTMLElement => h("option", { value, selected: isChosen }, text);
    this.span = h("select", { "aria-label": "time", change: () => this.change({ span: Number(this.span.value), fixed: null }) },
      ...SPANS.map(([span, text]) => option(String(span), text, span === state.span)));
    const order = h("select", { "aria-label": "order", change: () => this.change({ order: order.value as Order }) },
      ...ORDERS.map(([key, text]) => option(key, text, key === state.order)));
    let typing = 0;
    const name = h("input", { type: "search", placeholder: "name or command", "aria-label": "name", value: state.name, input: () => {
      window.clearTimeout(typing);
      typing = window.setTimeout(() => this.change({ name: name.value }), TYPING_MS);
    } });
    this.element = h("div", { class: "processes" }, h("h1", {}, "Processes"),
      h("div", { class: "tools" }, this.span, this.range, name, order, this.fault),
      this.about, this.canvas.element, this.details, h("h2", {}, "The same as a table"), this.rows.element);
  }

  close(): void {
    this.turn += 1;
    window.clearTimeout(this.timer);
    this.canvas.close();
    this.observer.disconnect();
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    this.turn += 1;
    const mine = this.turn;
    try {
      const lives = await get<Lives>(this.path());
      // What was asked for later is shown.
      if (mine !== this.turn) return;
      this.fault.textContent = "";
      this.show(lives);
    } catch (error) {
      if (mine !== this.turn) return;
      if (!(error instanceof ApiFailure) || this.lives === null) throw error;
      this.fault.textContent = [error.message, error.next].filter(Boolean).join("; ");
    }
    if (this.state.fixed === null) this.timer = window.setTimeout(() => void this.refresh(), REFRESH_MS);
  }

  private path(): string {
    const { span, fixed, name } = this.state;
    // Without an end it is now, by the server's clock.
    const time = fixed ? { from: String(fixed.from), until: String(fixed.until) } : { span: String(span) };
    const query = new URLSearchParams({ ...time, limit: String(LIMIT) });
    if (name) query.set("name", name);
    return `/processes/timeline?${query.toString()}`;
  }

  private change(part: Partial<State>): void {
    this.state = { ...this.state, ...part };
    const { span, fixed, name, order } = this.state;
    const query = new URLSearchParams();
    if (fixed) {
      query.set("from", String(fixed.from));
      query.set("until", String(fixed.until));
    } else if (span !== 10 * MINUTE) query.set("span", String(span));
    if (name) query.set("name", name);
    if (order !== "family") query.set("order", order);
    replaceQuery(query);
    void this.refresh();
  }

  private show(lives: Lives): void {
    this.lives = lives;
    const { fixed } = this.state;
    this.about.textContent = about(lives);
    this.range.replaceChildren(...(fixed === null ? [] : [
      `${clock(fixed.from)} to ${clock(fixed.until)} `,
      h("button", { type: "button", click: () => this.widen(fixed.from, fixed.until) }, "wider"), " ",
      h("button", { type: "button", click: () => this.change({ fixed: null }) }, "up to now"),
    ]));
    this.canvas.show({ from: lives.from_ms, until: lives.until_ms, rows: ordered(lives.processes, this.state.order), beginnings: lives.beginnings });
    this.rows.show(lives.processes);
    this.describe();
  }

  private widen(from: number, until: number): void {
    const more = until - from;
    this.change({ fixed: { from: Math.max(1, from - more), until: Math.min(Date.now(), until + more) } });
  }

  private pick(life: Life | null): void {
    this.picked = life?.id ?? null;
    this.canvas.pick(this.picked);
    this.describe();
  }

  private describe(): void {
    const lives = this.lives?.processes ?? [];
    const life = lives.find(({ id }) => id === this.picked);
    if (!life) {
      this.details.replaceChildren();
      return;
    }
    const parent = lives.find(({ id }) => id === life.parent_id);
    const children = lives.filter(({ parent_id: id }) => id === life.id).length;
    const link = (to: Life): HTMLElement => h("button", { type: "button", click: () => this.pick(to) }, `${to.name} (pid ${to.pid})`);
    this.details.replaceChildren(h("section", { class: "card" },
      h("p", {}, h("b", {}, `${life.name} (pid ${life.pid})`), " ", h("span", { class: isBad(life) ? "error" : "dim" }, end(life)), " ",
        life.target === null ? null : h("a", { href: `/target/${life.target}` }, "target")),
      h("p", { class: "mono" }, life.command),
      h("p", {}, `from ${day(life.started_ms)}, ${lived(life, this.lives?.until_ms ?? life.started_ms)}`,
        life.peak_rss_bytes === null ? "" : `; at most ${bytes(life.peak_rss_bytes)} resident`),
      h("p", {}, "parent ", parent ? link(parent) : life.parent === null ? "not known" : `pid ${life.parent}`, children > 0 ? `; ${children} children here` : "")));
  }
}

/** What is shown, and what is not. */
function about(lives: Lives): string {
  if (lives.off !== null) return `Nobody tells of processes: ${lives.off}.`;
  const { omitted } = lives;
  const count = (number: number): string => number.toLocaleString("en");
  const parts = [`${count(lives.matching)} ${lives.matching === 1 ? "process" : "processes"}`];
  if (lives.processes.length < lives.matching) parts.push(`the ${count(lives.processes.length)} that matter most are shown`);
  if (lives.since_ms !== null && lives.since_ms > lives.from_ms) parts.push(`those that ended before ${day(lives.since_ms)} were not seen`);
  if (omitted.forgotten_until_ms !== null && omitted.forgotten_until_ms > lives.from_ms) {
    parts.push(`${count(omitted.forgotten)} that ended before ${clock(omitted.forgotten_until_ms)} are forgotten`);
  }
  if (omitted.dropped > 0) parts.push(`${count(omitted.dropped)} beginnings and ends came too fast to be read`);
  if (omitted.not_entered > 0) parts.push(`${count(omitted.not_entered)} are known once they end`);
  return parts.join("; ");
}

function columns(now: () => number): readonly Column<Life>[] {
  return [
    { key: "name", title: "name", isNumber: false, isLink: true, text: (life) => life.name },
    { key: "pid", title: "pid", isNumber: true, text: ({ pid }) => String(pid), sort: ({ pid }) => pid },
    { key: "began", title: "began", isNumber: true, text: (life) => clock(life.started_ms), sort: (life) => life.started_ms },
    { key: "lived", title: "lived", isNumber: true, text: (life) => lived(life, now()), sort: (life) => (life.ended_ms ?? now()) - life.started_ms },
    { key: "peak", title: "peak", isNumber: true, text: (life) => (life.peak_rss_bytes === null ? "-" : bytes(life.peak_rss_bytes)), sort: (life) => life.peak_rss_bytes ?? 0 },
    { key: "end", title: "end", isNumber: false, text: end, look: (life) => (isBad(life) ? "error" : "") },
    { key: "command", title: "command", isNumber: false, text: (life) => life.command },
  ];
}
