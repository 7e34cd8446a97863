// One object graph: its figures, the tools, and the view that the address names.

import { type Capture, get } from "../../api";
import { h } from "../../dom";
import { bytes, clock, day, percent } from "../../format";
import type { HeapSummary } from "../../heapapi";
import { type Page, navigate, replaceQuery } from "../../router";
import { failed } from "../parts";
import { changesView } from "./changes";
import { dominatorsView } from "./dominators";
import { goroutinesView } from "./goroutines";
import { objectsView } from "./objects";
import { count } from "./parts";
import { rootsView } from "./roots";
import { State, VIEWS, type ViewName } from "./state";
import { treemapView } from "./treemap";
import { typesView } from "./types";
import type { Changes, Context, View } from "./view";
import { whyView } from "./why";

const OPEN: Readonly<Record<ViewName, (context: Context) => Promise<View>>> = {
  types: typesView, dominators: dominatorsView, treemap: treemapView, roots: rootsView,
  goroutines: goroutinesView, objects: objectsView, why: whyView, changes: changesView,
};

/** A view that takes longer than this says that it works. */
const PATIENCE_MS = 250;

export async function heap(id: number, query: URLSearchParams): Promise<Page> {
  const summary = await get<HeapSummary>(`/captures/${id}/heap/summary`);
  const graphs = await get<readonly Capture[]>(`/targets/${summary.target}/captures?kind=graph&limit=300`);
  const page = new HeapPage(summary, graphs.filter((other) => other.id !== id), new State(query));
  await page.open();
  return { element: page.element, close: () => page.close(), update: (next) => page.update(next) };
}

class HeapPage implements Context {
  readonly element: HTMLElement;
  private readonly content = h("div", { "data-testid": "view" });
  private readonly busy = h("span", { class: "dim", "aria-live": "polite" });
  private readonly buttons = new Map<ViewName, HTMLButtonElement>();
  private readonly base: HTMLSelectElement;
  private readonly search = h("input", { type: "search", "aria-label": "find objects", size: 36,
    placeholder: "find: type, 0x address, function, >1MiB" });
  private readonly onKey = (event: KeyboardEvent): void => this.key(event);
  private shown: View | null = null;
  private turn = 0;

  constructor(readonly summary: HeapSummary, readonly others: readonly Capture[], private current: State) {
    const views = h("span", { class: "group" });
    for (const name of VIEWS) {
      const button = h("button", { type: "button", click: () => this.show({ view: name }) }, name);
      this.buttons.set(name, button);
      views.append(button);
    }
    this.base = this.baseSelect();
    const form = h("form", { submit: (event) => {
      event.preventDefault();
      this.find();
    } }, this.search);
    this.element = h("div", { class: "profile heap", "data-testid": "heap" },
      ...heading(summary), h("div", { class: "tools" }, views, this.base, form, this.busy), this.content);
    document.addEventListener("keydown", this.onKey);
  }

  close(): void {
    document.removeEventListener("keydown", this.onKey);
    this.shown?.close?.();
    this.shown = null;
  }

  /** Shows another address of this page. */
  update(query: URLSearchParams): void {
    this.current = new State(query);
    void this.open();
  }

  state(): State {
    return this.current;
  }

  show(changes: Changes): void {
    navigate(this.link(changes));
  }

  keep(changes: Changes): void {
    this.current = this.current.with(changes);
    replaceQuery(this.current.query);
  }

  link(changes: Changes): string {
    const query = this.current.with(changes).query.toString();
    return `/heap/${this.summary.id}${query ? `?${query}` : ""}`;
  }

  ask<T>(what: string, parameters: Changes = {}): Promise<T> {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(parameters)) if (value) query.set(key, value);
    const text = query.toString();
    return get<T>(`/captures/${this.summary.id}/heap/${what}${text ? `?${text}` : ""}`);
  }

  /** Opens the view; what was shown stays until the new one is there. */
  async open(): Promise<void> {
    this.turn += 1;
    const mine = this.turn;
    this.mark();
    const working = setTimeout(() => (this.busy.textContent = "working ..."), PATIENCE_MS);
    let view: View;
    try {
      view = await OPEN[this.current.view()](this);
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
  }

  /** Shows what the address says. */
  private mark(): void {
    const view = this.current.view();
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === view));
    this.base.value = this.current.base();
    if (document.activeElement !== this.search) this.search.value = this.current.get("find");
  }

  private find(): void {
    const find = this.search.value.trim();
    // An address means one object.
    if (/^(0x[0-9a-f]+|id:\d+)$/i.test(find)) this.show({ view: "why", object: find });
    else if (find) this.show({ view: "objects", find });
  }

  private baseSelect(): HTMLSelectElement {
    const select = h("select", { "aria-label": "compare with", "data-testid": "base", change: () => {
      this.show(select.value ? { view: "changes", base: select.value } : { view: this.current.view() === "changes" ? "types" : this.current.view(), base: "" });
    } });
    select.append(h("option", { value: "" }, "compare with ..."));
    for (const other of this.others) {
      select.append(h("option", { value: other.id }, `${clock(other.time_ms)} (#${other.id}, ${other.reason}, ${bytes(other.bytes)})`));
    }
    return select;
  }

  private key(event: KeyboardEvent): void {
    const from = event.target;
    const isTyping = from instanceof HTMLInputElement || from instanceof HTMLSelectElement;
    if (isTyping && event.key === "Escape") from.blur();
    if (isTyping || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    // Buttons and links act on Enter by themselves.
    if (event.key === "Enter" && from instanceof Element && from.closest("button, a, th, summary")) return;
    const digit = VIEWS[Number(event.key) - 1];
    if (event.key === "/") this.search.select();
    else if (digit) this.show({ view: digit });
    else if (!this.shown?.key?.(event)) return;
    event.preventDefault();
  }
}

function heading(summary: HeapSummary): HTMLElement[] {
  const { source } = summary;
  const pause = source.pause_seconds === null ? "" : `stood still for ${(source.pause_seconds * 1000).toFixed(1)} ms`;
  const from = [source.runtime, source.target, source.method && `by ${source.method}`, pause, day(summary.time_ms)];
  const typed = percent(summary.typed_bytes, summary.live_bytes);
  const inUse = summary.heap_in_use_bytes === null ? "" : ` · ${bytes(summary.heap_in_use_bytes)} of spans in use`;
  return [
    h("div", { class: "tools" }, h("h1", {}, "heap"),
      h("span", { class: "dim" }, [...from.filter(Boolean), ""].join(" · ")),
      h("a", { href: `/target/${summary.target}` }, "target"),
      h("a", { href: `/api/v1/captures/${summary.id}/profile`, download: `graph-${summary.id}.heap` }, "download")),
    h("p", { class: "hint", "data-testid": "summary" },
      h("b", {}, `${bytes(summary.live_bytes)} live`), ` in ${count(summary.live_objects, "object")} of ${count(summary.types, "type")} ` +
        `(${typed} typed) · ${bytes(summary.unreachable_bytes)} unreachable${inUse} · ${count(summary.pointers, "pointer")} · ` +
        count(summary.goroutines, "goroutine")),
    ...summary.warnings.map((text) => h("p", { class: "error" }, text)),
  ];
}
