// A flame graph on a canvas: zoom, hover, selection by keys, search.

import { colour, h, isDark } from "../dom";
import { change, percent, quantity } from "../format";
import { NO_PARENT, OTHER, type Tree, matched } from "../msf";
import { fillColours } from "./flamecolours";
import { type Look, Painter, ROW, type Window } from "./flamepaint";

const ZOOM_MILLIS = 180;

export interface FlameOptions {
  readonly unit: string;
  readonly zoom: number;
  readonly relative: boolean;
  /** Roots at the bottom. */
  readonly isFlame: boolean;
  /** Name of the canvas for tests and screen readers. */
  readonly label: string;
  readonly onZoom: (node: number) => void;
  /** Asks for what can be done with a node, at a place of the window. */
  readonly onMenu: (node: number, x: number, y: number) => void;
  /** The rest of a node, which the server cut, should be shown. */
  readonly onOther?: (node: number) => void;
  readonly onHover?: (name: string | null) => void;
}

export class Flame {
  readonly element: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly box: HTMLElement;
  private readonly filler = h("div");
  private readonly info = h("div", { class: "info mono dim", "aria-live": "polite" });
  private readonly painter: Painter;
  private readonly observer: ResizeObserver;
  private readonly names: Map<string, number>;
  private look: Look;
  private zoom: number;
  private window: Window;
  private matches: Uint8Array | null = null;
  private relative: boolean;
  private hover = -1;
  private selected = -1;
  private emphasised = -1;
  private frame = 0;
  private clicked = -1;

  constructor(readonly tree: Tree, private readonly options: FlameOptions) {
    this.canvas = h("canvas", { tabindex: 0, "aria-label": options.label, "data-testid": options.label });
    this.box = h("div", { class: "flamebox" }, this.canvas, this.filler);
    this.element = h("div", { class: "flame" }, this.info, this.box);
    this.painter = new Painter(this.canvas, tree);
    this.names = new Map(tree.strings.map((name, index) => [name, index]));
    this.relative = options.relative;
    this.zoom = options.zoom < tree.count ? options.zoom : 0;
    this.window = this.windowOf(this.zoom);
    this.look = { isDark: isDark(), ink: colour("fg"), accent: colour("accent") };
    this.recolour();
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
    this.describe(this.zoom);
  }

  close(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Marks functions that match; says how many frames and what share they hold. */
  search(pattern: RegExp | null): string {
    const { tree } = this;
    this.matches = pattern && Uint8Array.from(tree.strings, (name) => Number(pattern.test(name)));
    this.recolour();
    this.draw();
    if (!this.matches) return "";
    const { nodes, sum } = matched(tree, this.matches);
    return `${nodes.toLocaleString("en")} frames, ${quantity(sum, this.options.unit)} (${percent(sum, tree.total)})`;
  }

  /** Shows where a function is, or nothing. */
  emphasise(name: string | null): void {
    const index = name === null ? -1 : this.names.get(name) ?? -1;
    if (index === this.emphasised) return;
    this.emphasised = index;
    this.draw();
  }

  setRelative(relative: boolean): void {
    this.relative = relative;
    this.recolour();
    this.draw();
  }

  zoomTo(node: number): void {
    if (node < 0 || node === this.zoom) return;
    this.zoom = node;
    this.options.onZoom(node);
    this.describe(node);
    this.animate(this.window, this.windowOf(node), performance.now());
  }

  /** Acts on a key; false when it means nothing here. */
  key(event: KeyboardEvent): boolean {
    const { tree } = this;
    const at = this.selected < 0 ? this.zoom : this.selected;
    const inward = this.options.isFlame ? ["ArrowUp", "w"] : ["ArrowDown", "s"];
    const outward = this.options.isFlame ? ["ArrowDown", "s"] : ["ArrowUp", "w"];
    if (inward.includes(event.key)) this.select(tree.parent[at + 1] === at ? at + 1 : at);
    else if (outward.includes(event.key)) this.select(tree.parent[at] === NO_PARENT ? at : tree.parent[at]!);
    else if (event.key === "ArrowRight" || event.key === "d") this.select(this.beside(at, 1));
    else if (event.key === "ArrowLeft" || event.key === "a") this.select(this.beside(at, -1));
    else if (event.key === "Enter") this.activate(at);
    else if (event.key === "Backspace") this.zoomTo(tree.parent[this.zoom] === NO_PARENT ? 0 : tree.parent[this.zoom]!);
    else if (event.key === "Escape") this.zoomTo(0);
    else if (event.key === "m") this.menuAt(at);
    else return false;
    return true;
  }

  draw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    const marks = { hover: this.hover, selected: this.selected, name: this.emphasised };
    this.painter.paint({ ...this.window, scroll: this.box.scrollTop }, marks, this.look);
    if (this.canvas.width > 0 && performance.getEntriesByName("flame drawn").length === 0) performance.mark("flame drawn");
  }

  private listen(): void {
    const node = (event: MouseEvent): number => {
      const box = this.canvas.getBoundingClientRect();
      return this.painter.hit(event.clientX - box.left, event.clientY - box.top, { ...this.window, scroll: this.box.scrollTop });
    };
    this.canvas.addEventListener("mousemove", (event) => this.point(node(event)));
    this.canvas.addEventListener("mouseleave", () => this.point(-1));
    this.canvas.addEventListener("click", (event) => {
      // The second click of a double click is about the node that was under the first.
      if (event.detail > 1) return;
      this.clicked = node(event);
      this.selected = this.clicked;
      this.activate(this.clicked);
    });
    this.canvas.addEventListener("dblclick", (event) => {
      if (this.clicked >= 0) this.options.onMenu(this.clicked, event.clientX, event.clientY);
    });
    this.canvas.addEventListener("contextmenu", (event) => {
      const at = node(event);
      if (at < 0) return;
      event.preventDefault();
      this.options.onMenu(at, event.clientX, event.clientY);
    });
    this.box.addEventListener("scroll", () => this.draw());
  }

  private activate(node: number): void {
    if (node < 0) return;
    const isOther = this.tree.strings[this.tree.name[node]!] === OTHER;
    if (isOther && this.options.onOther) this.options.onOther(node);
    else if (node === this.zoom) this.draw();
    else this.zoomTo(node);
  }

  private point(node: number): void {
    if (node === this.hover) return;
    this.hover = node;
    this.canvas.style.cursor = node >= 0 ? "pointer" : "default";
    this.describe(node < 0 ? this.zoom : node);
    const name = node > 0 ? this.tree.strings[this.tree.name[node]!]! : null;
    this.emphasise(name);
    this.options.onHover?.(name);
    this.draw();
  }

  private select(node: number): void {
    this.selected = node;
    this.describe(node);
    const top = this.painter.top(this.tree.depth[node]!, this.options.isFlame);
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const bottom = top + ROW - this.box.clientHeight;
    if (bottom > this.box.scrollTop) this.box.scrollTop = bottom;
    this.draw();
  }

  /** The neighbour in the same row, inside what is zoomed to. */
  private beside(node: number, step: 1 | -1): number {
    const { tree, window } = this;
    const [from, to] = [tree.rowStart[tree.depth[node]!]!, tree.rowStart[tree.depth[node]! + 1]!];
    // Nodes of a row are in preorder too.
    let [low, high] = [from, to];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (tree.rows[middle]! < node) low = middle + 1;
      else high = middle;
    }
    const next = tree.rows[low + step];
    if (next === undefined || low + step < from || low + step >= to) return node;
    const isInside = tree.start[next]! >= window.left && tree.start[next]! < window.left + window.width;
    return isInside ? next : node;
  }

  private menuAt(node: number): void {
    const box = this.canvas.getBoundingClientRect();
    const share = (this.tree.start[node]! - this.window.left) / this.window.width;
    const y = this.painter.top(this.tree.depth[node]!, this.options.isFlame) - this.box.scrollTop;
    this.options.onMenu(node, box.left + Math.max(0, Math.min(1, share)) * box.width + 8, box.top + y + ROW);
  }

  private windowOf(node: number): Window {
    const { tree } = this;
    return { left: tree.start[node]!, width: tree.weight[node]! || 1, scroll: 0, zoomDepth: tree.depth[node]!, isFlame: this.options.isFlame };
  }

  private animate(from: Window, to: Window, began: number): void {
    cancelAnimationFrame(this.frame);
    const step = (): void => {
      const done = Math.min(1, (performance.now() - began) / ZOOM_MILLIS);
      const eased = 1 - (1 - done) ** 3;
      const width = from.width * (to.width / from.width) ** eased;
      // The edge moves with the width, so that the target stays in view on the way.
      const share = from.width === to.width ? eased : (from.width - width) / (from.width - to.width);
      this.window = done === 1 ? to : { ...to, width, left: from.left + (to.left - from.left) * share };
      this.paint();
      this.frame = done < 1 ? requestAnimationFrame(step) : 0;
    };
    this.frame = requestAnimationFrame(step);
  }

  private resize(): void {
    const height = (this.tree.depthMax + 1) * ROW + 2;
    const roomy = Math.max(240, globalThis.innerHeight - 270);
    const shown = Math.min(height, roomy);
    const wasEmpty = this.canvas.clientHeight !== shown;
    this.box.style.height = `${shown}px`;
    this.canvas.style.height = `${shown}px`;
    this.filler.style.height = `${height - shown}px`;
    if (wasEmpty && this.options.isFlame) this.box.scrollTop = height;
    if (this.frame === 0) this.paint();
  }

  private recolour(): void {
    fillColours(this.painter.colours, this.tree, { isDark: this.look.isDark, relative: this.relative, matches: this.matches });
  }

  private describe(node: number): void {
    const { tree } = this;
    const { unit } = this.options;
    const file = tree.strings[tree.file[node]!]!;
    const total = tree.totals[node]!;
    const name = tree.strings[tree.name[node]!]!;
    const place = name === OTHER && this.options.onOther ? "   click shows what is in it" : file && `   ${file}:${tree.line[node]}`;
    const zoomed = this.zoom > 0 && node !== this.zoom ? `, ${percent(total, tree.totals[this.zoom]!)} of what is shown` : "";
    const delta = tree.isDiff
      ? `, ${change(total - tree.base[node]!, unit)} (${percent(total - tree.base[node]!, tree.base[node]!)}) against the base`
      : "";
    this.info.textContent =
      `${name}${place}\n${quantity(total, unit)} (${percent(total, tree.total)} of the total${zoomed}), ${quantity(tree.self[node]!, unit)} itself${delta}`;
  }
}
