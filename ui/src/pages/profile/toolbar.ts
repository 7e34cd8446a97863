// Views, sample type, base, search and how graphs are drawn.

import type { Capture } from "../../api";
import { h } from "../../dom";
import { bytes, clock, quantity } from "../../format";
import { VIEWS, type ViewName } from "./state";
import type { Context } from "./view";

export class Toolbar {
  readonly element: HTMLElement;
  private readonly viewButtons = new Map<ViewName, HTMLButtonElement>();
  private readonly input = h("input", { type: "search", placeholder: "search (regular expression)", "aria-label": "search", size: 28 });
  private readonly result = h("span", { class: "dim", "data-testid": "found", "aria-live": "polite" });
  private readonly sample: HTMLSelectElement;
  private readonly base: HTMLSelectElement;
  private readonly relative: HTMLButtonElement;
  private readonly flame: HTMLButtonElement;
  private readonly reverse: HTMLButtonElement;

  constructor(private readonly context: Context, onSearch: (text: string) => void, onRelative: () => void) {
    const { meta } = context;
    const views = h("span", { class: "group" });
    for (const name of VIEWS) {
      const button = h("button", { type: "button", click: () => context.show({ view: name === "both" ? "" : name }) }, name);
      this.viewButtons.set(name, button);
      views.append(button);
    }
    this.input.addEventListener("input", () => onSearch(this.input.value));
    const toggle = (text: string, title: string, act: () => void): HTMLButtonElement => h("button", { type: "button", title, click: act }, text);
    this.relative = toggle("relative", "colour by the share of each frame that changed", onRelative);
    this.flame = toggle("roots at the bottom", "flames instead of icicles",
      () => context.show({ orient: context.state().get("orient") === "flame" ? "" : "flame" }));
    this.reverse = toggle("reverse", "bottom-up: what is called at the root, its callers above",
      () => context.show({ reverse: context.state().is("reverse") ? "" : "1", z: "" }));
    this.sample = this.sampleSelect();
    this.base = this.baseSelect(context.others);
    this.element = h("div", {},
      h("div", { class: "tools" }, h("h1", {}, `${meta.kind} profile`),
        h("span", { class: "dim" }, `${clock(meta.time_ms)} · ${meta.samples.toLocaleString("en")} samples ·`),
        h("a", { href: `/target/${meta.target}` }, "target"),
        h("a", { href: `/api/v1/captures/${meta.id}/profile`, download: `capture-${meta.id}.pb.gz` }, "download")),
      h("div", { class: "tools" }, views, this.sample, this.base, this.relative, this.flame, this.reverse, this.input, this.result));
  }

  /** Shows what the address says. */
  update(): void {
    const state = this.context.state();
    const view = state.view();
    for (const [name, button] of this.viewButtons) button.setAttribute("aria-pressed", String(name === view));
    this.sample.value = state.get("sample") || (this.context.meta.default_sample_type ?? "");
    this.base.value = state.get("base");
    if (document.activeElement !== this.input) this.input.value = state.get("q");
    const isFlame = view === "both" || view === "flame";
    this.relative.hidden = state.base() === undefined || view === "side";
    this.flame.hidden = !isFlame && view !== "side";
    this.reverse.hidden = !isFlame && view !== "side";
    this.relative.setAttribute("aria-pressed", String(state.is("relative")));
    this.flame.setAttribute("aria-pressed", String(state.get("orient") === "flame"));
    this.reverse.setAttribute("aria-pressed", String(state.is("reverse")));
  }

  found(text: string): void {
    this.result.textContent = text;
  }

  focusSearch(): void {
    this.input.focus();
    this.input.select();
  }

  private sampleSelect(): HTMLSelectElement {
    const { meta } = this.context;
    const select = h("select", { "aria-label": "sample type", change: () => this.context.show({ sample: select.value }) });
    for (const type of meta.sample_types) {
      const total = quantity(meta.totals[type.kind] ?? 0, type.unit);
      select.append(h("option", { value: type.kind }, `${type.kind} (${total})`));
    }
    return select;
  }

  private baseSelect(others: readonly Capture[]): HTMLSelectElement {
    const select = h("select", { "aria-label": "compare with", "data-testid": "base", change: () => this.context.show({ base: select.value }) });
    select.append(h("option", { value: "" }, "compare with ..."));
    for (const other of others.filter((capture) => capture.id !== this.context.meta.id)) {
      select.append(h("option", { value: other.id }, `${clock(other.time_ms)} (#${other.id}, ${bytes(other.bytes)})`));
    }
    return select;
  }
}
