// One execution trace: its figures and the view that the address names.

import { type Capture, get } from "../../api";
import { h } from "../../dom";
import { bytes } from "../../format";
import { type Page, navigate, replaceQuery } from "../../router";
import type { TraceSummary } from "../../traceapi";
import { failed } from "../parts";
import { collectionsView } from "./collections";
import { goroutinesView } from "./goroutines";
import { lifetimesView } from "./lifetimes";
import { mmuView } from "./mmu";
import { tasksView } from "./tasks";
import { timelineView } from "./timeline";
import { type Changes, type Context, type View, nanos } from "./view";

const VIEWS = {
  timeline: timelineView, collections: collectionsView, goroutines: goroutinesView, mmu: mmuView, tasks: tasksView, lifetimes: lifetimesView,
} as const;
type ViewName = keyof typeof VIEWS;
const NAMES = Object.keys(VIEWS) as readonly ViewName[];

/** A view that takes longer than this says that it works. */
const PATIENCE_MS = 250;

export async function trace(id: number, query: URLSearchParams): Promise<Page> {
  const summary = await get<TraceSummary>(`/captures/${id}/trace/summary`);
  const capture = (await get<readonly (Capture & { readonly target: number })[]>("/traces")).find((one) => one.id === id);
  const page = new TracePage(id, summary, capture?.target ?? null, query);
  await page.open();
  return { element: page.element, close: () => page.close(), update: (next) => page.update(next) };
}

class TracePage implements Context {
  readonly element: HTMLElement;
  private readonly content = h("div", { "data-testid": "view" });
  private readonly busy = h("span", { class: "dim", "aria-live": "polite" });
  private readonly buttons = new Map<ViewName, HTMLButtonElement>();
  private readonly onKey = (event: KeyboardEvent): void => this.key(event);
  private shown: View | null = null;
  private turn = 0;

  constructor(readonly id: number, readonly summary: TraceSummary, target: number | null, private query: URLSearchParams) {
    const views = h("span", { class: "group" });
    for (const name of NAMES) {
      const button = h("button", { type: "button", click: () => this.show({ view: name }) }, name);
      this.buttons.set(name, button);
      views.append(button);
    }
    this.element = h("div", { class: "profile trace", "data-testid": "trace" },
      ...heading(id, summary, target), h("div", { class: "tools" }, views, this.busy), this.content);
    document.addEventListener("keydown", this.onKey);
  }

  close(): void {
    document.removeEventListener("keydown", this.onKey);
    this.shown?.close?.();
    this.shown = null;
  }

  /** Shows another address of this page. */
  update(query: URLSearchParams): void {
    this.query = query;
    void this.open();
  }

  parameter(name: string): string {
    return this.query.get(name) ?? "";
  }

  show(changes: Changes): void {
    const text = this.changed(changes).toString();
    navigate(`/trace/${this.id}${text ? `?${text}` : ""}`);
  }

  keep(changes: Changes): void {
    this.query = this.changed(changes);
    replaceQuery(this.query);
  }

  ask<T>(what: string, parameters: Changes = {}): Promise<T> {
    const text = new URLSearchParams(parameters).toString();
    return get<T>(`/captures/${this.id}/trace/${what}${text ? `?${text}` : ""}`);
  }

  /** Opens the view; what was shown stays until the new one is there. */
  async open(): Promise<void> {
    this.turn += 1;
    const mine = this.turn;
    const name = this.view();
    for (const [each, button] of this.buttons) button.setAttribute("aria-pressed", String(each === name));
    const working = setTimeout(() => (this.busy.textContent = "working ..."), PATIENCE_MS);
    let view: View;
    try {
      view = await VIEWS[name](this);
    } catch (error) {
      view = { element: h("div", {}, ...failed(error)) };
    }
    clearTimeout(working);
    if (mine !== this.turn) {
      view.close?.();
      return;
    }
    this.busy.textContent = "";
    this.shown?.close?.();
    this.shown = view;
    this.content.replaceChildren(view.element);
    window.dispatchEvent(new Event("resize"));
  }

  private view(): ViewName {
    const name = this.parameter("view");
    return NAMES.find((known) => known === name) ?? "timeline";
  }

  private changed(changes: Changes): URLSearchParams {
    const query = new URLSearchParams(this.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    return query;
  }

  private key(event: KeyboardEvent): void {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (isTyping || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = NAMES[Number(event.key) - 1];
    if (digit) this.show({ view: digit });
    else if (!this.shown?.key?.(event)) return;
    event.preventDefault();
  }
}

function heading(id: number, summary: TraceSummary, target: number | null): HTMLElement[] {
  const count = (value: number, noun: string): string => `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
  const stopped = Object.values(summary.stops).reduce((sum, stop) => sum + stop.total_nanos, 0);
  const heap = summary.heap_bytes && ` · heap ${bytes(summary.heap_bytes.min)} to ${bytes(summary.heap_bytes.max)}`;
  return [
    h("div", { class: "tools" }, h("h1", {}, "trace"),
      h("span", { class: "dim" }, `${nanos(summary.duration_nanos)} of a program with Go's trace format ${summary.format}`),
      target === null ? h("span") : h("a", { href: `/target/${target}` }, "target"),
      h("a", { href: `/api/v1/captures/${id}/profile`, download: `trace-${id}.trace` }, "download")),
    h("p", { class: "hint", "data-testid": "summary" }, h("b", {}, count(summary.events, "event")),
      ` · ${count(summary.goroutines_before + summary.goroutines_created, "goroutine")} on ${count(summary.procs, "P")} and ` +
        `${count(summary.threads, "thread")} · ${count(summary.collections, "collection")}, the world stopped for ${nanos(stopped)}${heap ?? ""}`),
    ...(summary.warning ? [h("p", { class: "error" }, summary.warning)] : []),
  ];
}
