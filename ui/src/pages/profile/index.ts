// One capture as a profile: the tools, and the view that the address names.

import { type Capture, type Meta, get } from "../../api";
import { h } from "../../dom";
import { type Page, navigate, replaceQuery } from "../../router";
import { disasmView, sourceView } from "./code";
import { filterBar } from "./filters";
import { bothView, flameView } from "./flame";
import { graphView } from "./graph";
import { helpOverlay } from "./help";
import { closeMenu, openMenu } from "./menu";
import { sandwichView } from "./sandwich";
import { sideView } from "./side";
import { State, VIEWS, type ViewName, searchPattern } from "./state";
import { tableView } from "./table";
import { tagsView } from "./tags";
import { Toolbar } from "./toolbar";
import { prefetchTree } from "./tree";
import type { Context, View } from "./view";

const OPEN: Readonly<Record<ViewName, (context: Context) => Promise<View>>> = {
  both: bothView, flame: flameView, table: tableView, sandwich: sandwichView, graph: graphView,
  tags: tagsView, source: sourceView, disasm: disasmView, side: sideView,
};

export async function profile(id: number, query: URLSearchParams): Promise<Page> {
  const state = new State(query);
  // What takes longest is asked for at once.
  if (state.view() === "both" || state.view() === "flame") prefetchTree(id, state);
  const meta = await get<Meta>(`/captures/${id}/meta`);
  const others = await get<readonly Capture[]>(`/targets/${meta.target}/captures?kind=${meta.kind}&limit=300`);
  const page = new ProfilePage(meta, others, state);
  await page.open();
  return { element: page.element, close: () => page.close(), update: (next) => page.update(next) };
}

class ProfilePage implements Context {
  readonly element: HTMLElement;
  private readonly content = h("div");
  private readonly filters = h("div");
  private readonly help = helpOverlay();
  private readonly toolbar: Toolbar;
  private readonly onKey = (event: KeyboardEvent): void => this.key(event);
  private view: View | null = null;
  private turn = 0;

  constructor(readonly meta: Meta, readonly others: readonly Capture[], private current: State) {
    this.toolbar = new Toolbar(this, (text) => this.searchFor(text), () => this.toggleRelative());
    this.element = h("div", { class: "profile", "data-testid": "profile" }, this.toolbar.element, this.filters, this.content, this.help);
    document.addEventListener("keydown", this.onKey);
  }

  close(): void {
    document.removeEventListener("keydown", this.onKey);
    closeMenu();
    this.view?.close?.();
    this.view = null;
  }

  /** Shows another address of this page. */
  update(query: URLSearchParams): void {
    this.current = new State(query);
    void this.open();
  }

  state(): State {
    return this.current;
  }

  unit(): string {
    const sample = this.current.get("sample") || this.meta.default_sample_type;
    return this.meta.sample_types.find((type) => type.kind === sample)?.unit ?? "count";
  }

  show(changes: Readonly<Record<string, string>>): void {
    navigate(`/capture/${this.meta.id}?${this.current.with(changes).query}`);
  }

  keep(changes: Readonly<Record<string, string>>): void {
    this.current = this.current.with(changes);
    replaceQuery(this.current.query);
  }

  path(what: string, more: Readonly<Record<string, string>> = {}): string {
    return `/captures/${this.meta.id}/${what}${this.current.api(more)}`;
  }

  menu(name: string, x: number, y: number): void {
    openMenu(this, name, x, y);
  }

  /** Opens the view; what was shown stays until the new one is there. */
  async open(): Promise<void> {
    this.turn += 1;
    const mine = this.turn;
    this.toolbar.update();
    this.filters.replaceChildren(filterBar(this));
    let view: View;
    try {
      view = await OPEN[this.current.view()](this);
    } catch (error) {
      view = failure(error);
    }
    if (mine !== this.turn) {
      view.close?.();
      return;
    }
    this.view?.close?.();
    this.view = view;
    this.content.replaceChildren(view.element);
    this.search();
  }

  private searchFor(text: string): void {
    this.keep({ q: text });
    this.search();
  }

  private search(): void {
    const { pattern, error } = searchPattern(this.current.get("q"));
    const found = this.view?.search?.(pattern) ?? "";
    this.toolbar.found(error || found);
  }

  private toggleRelative(): void {
    this.keep({ relative: this.current.is("relative") ? "" : "1" });
    this.toolbar.update();
    this.view?.setRelative?.(this.current.is("relative"));
  }

  private key(event: KeyboardEvent): void {
    const from = event.target;
    const isTyping = from instanceof HTMLInputElement || from instanceof HTMLSelectElement;
    if (isTyping && event.key === "Escape") from.blur();
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    // Buttons and links act on Enter by themselves.
    if (event.key === "Enter" && from instanceof Element && from.closest("button, a, th")) return;
    const digit = VIEWS[Number(event.key) - 1];
    if (event.key === "/") this.toolbar.focusSearch();
    else if (event.key === "?") this.help.showModal();
    else if (digit) this.show({ view: digit === "both" ? "" : digit });
    else if (!this.view?.key?.(event)) return;
    event.preventDefault();
  }
}

function failure(error: unknown): View {
  const next = error instanceof Error && "next" in error ? String(error.next) : "";
  const text = error instanceof Error ? error.message : String(error);
  return { element: h("div", {}, h("p", { class: "error", "data-testid": "failure" }, text), h("p", {}, next)) };
}
