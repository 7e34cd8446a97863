// A flame graph (icicle) on a canvas.

import { colour, h, isDark, prepare } from "../dom";
import { change, percent, quantity } from "../format";
import { NO_PARENT, type Tree, matchedTotal } from "../msf";

const ROW = 19;
const PIXELS_MIN = 0.4;

interface Shown { readonly x: number; readonly y: number; readonly width: number; readonly node: number }

export interface FlameOptions {
  readonly unit: string;
  readonly zoom: number;
  /** Relative colours: share of the frame that changed; absolute: share of the largest change. */
  readonly relative: boolean;
  readonly onZoom: (node: number) => void;
  readonly onPick: (functionName: string) => void;
}

export class Flame {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { tabindex: 0, "aria-label": "flame graph", "data-testid": "flame" });
  private readonly info = h("div", { class: "info mono dim", "aria-live": "polite" });
  private readonly hues: Float32Array;
  private readonly changeMax: number;
  private readonly observer: ResizeObserver;
  private shown: Shown[] = [];
  private hover = -1;
  private zoom: number;
  private matches: readonly boolean[] | null = null;
  relative: boolean;

  constructor(private readonly tree: Tree, private readonly options: FlameOptions) {
    this.zoom = options.zoom < tree.count ? options.zoom : 0;
    this.relative = options.relative;
    this.hues = Float32Array.from(tree.strings, hue);
    let largest = 1;
    for (let i = 1; i < tree.count; i++) largest = Math.max(largest, Math.abs(tree.totals[i]! - tree.base[i]!));
    this.changeMax = largest;
    this.element = h("div", {}, this.info, this.canvas);
    this.canvas.addEventListener("mousemove", (event) => this.onMove(event));
    this.canvas.addEventListener("click", (event) => this.zoomTo(this.hit(event)));
    this.canvas.addEventListener("dblclick", (event) => {
      const node = this.hit(event);
      if (node > 0) options.onPick(tree.strings[tree.name[node]!]!);
    });
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.info.textContent = this.describe(this.zoom);
  }

  close(): void {
    this.observer.disconnect();
  }

  /** Marks functions that match; returns the share they hold, or an error. */
  search(text: string): string {
    this.matches = null;
    let found = "";
    if (text) {
      try {
        const pattern = new RegExp(text, "i");
        this.matches = this.tree.strings.map((name) => pattern.test(name));
        const sum = matchedTotal(this.tree, this.matches);
        found = `${quantity(sum, this.options.unit)} (${percent(sum, this.tree.total)})`;
      } catch {
        found = "not a regular expression";
      }
    }
    this.draw();
    return found;
  }

  zoomTo(node: number): void {
    if (node < 0) return;
    this.zoom = node;
    this.options.onZoom(node);
    this.info.textContent = this.describe(node);
    this.draw();
  }

  private onMove(event: MouseEvent): void {
    const node = this.hit(event);
    if (node === this.hover) return;
    this.hover = node;
    this.canvas.style.cursor = node >= 0 ? "pointer" : "default";
    this.info.textContent = this.describe(node < 0 ? this.zoom : node);
    this.draw();
  }

  private onKey(event: KeyboardEvent): void {
    const parent = this.tree.parent[this.zoom]!;
    if (event.key === "Escape") this.zoomTo(0);
    else if ((event.key === "ArrowUp" || event.key === "Backspace") && parent !== NO_PARENT) this.zoomTo(parent);
    else if (event.key === "ArrowDown" && this.tree.parent[this.zoom + 1] === this.zoom) this.zoomTo(this.zoom + 1);
    else return;
    event.preventDefault();
  }

  private hit(event: MouseEvent): number {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const found = this.shown.find((f) => y >= f.y && y < f.y + ROW && x >= f.x && x < f.x + f.width);
    return found ? found.node : -1;
  }

  draw(): void {
    const { tree } = this;
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    const context = prepare(this.canvas, (tree.depthMax + 1) * ROW + 4);
    context.font = "12px ui-monospace, Menlo, monospace";
    context.textBaseline = "middle";
    const [dark, ink] = [isDark(), colour("fg")];
    const above = new Set<number>();
    for (let node = this.zoom; node !== NO_PARENT; node = tree.parent[node]!) above.add(node);
    const left = tree.start[this.zoom]!;
    const scale = width / (tree.weight[this.zoom]! || 1);
    this.shown = [];
    for (let node = 0; node < tree.count; node++) {
      let x = (tree.start[node]! - left) * scale;
      let pixels = tree.weight[node]! * scale;
      if (above.has(node)) [x, pixels] = [0, width];
      if (pixels < PIXELS_MIN || x >= width || x + pixels <= 0) continue;
      const y = tree.depth[node]! * ROW;
      context.fillStyle = this.fill(node, dark);
      context.fillRect(x, y, Math.max(pixels - 0.6, 0.4), ROW - 1);
      this.shown.push({ x, y, width: pixels, node });
      if (node === this.hover) {
        context.strokeStyle = ink;
        context.strokeRect(x + 0.5, y + 0.5, Math.max(pixels - 1.6, 1), ROW - 2);
      }
      const room = Math.floor((pixels - 6) / 7.3);
      if (room > 2) {
        const name = tree.strings[tree.name[node]!]!;
        context.fillStyle = dark ? "#f2f4f6" : "#16191c";
        context.fillText(name.length <= room ? name : `${name.slice(0, room - 1)}…`, x + 3, y + ROW / 2);
      }
    }
  }

  private fill(node: number, dark: boolean): string {
    const { tree } = this;
    if (this.matches && !this.matches[tree.name[node]!]) return dark ? "#2a2f35" : "#e6e8ea";
    if (tree.isDiff) {
      const delta = tree.totals[node]! - tree.base[node]!;
      const share = Math.min(1, Math.abs(delta) / (this.relative ? tree.weight[node]! || 1 : this.changeMax));
      const light = dark ? 24 + 34 * share : 95 - 38 * share;
      return `hsl(${delta >= 0 ? 5 : 215} 70% ${light}%)`;
    }
    return `hsl(${this.hues[tree.name[node]!]} ${dark ? "38% 36%" : "58% 76%"})`;
  }

  private describe(node: number): string {
    const { tree } = this;
    const { unit } = this.options;
    const file = tree.strings[tree.file[node]!]!;
    const place = file ? `   ${file}:${tree.line[node]}` : "";
    const total = tree.totals[node]!;
    const delta = tree.isDiff
      ? `, ${change(total - tree.base[node]!, unit)} (${percent(total - tree.base[node]!, tree.base[node]!)}) against the base`
      : "";
    return (
      `${tree.strings[tree.name[node]!]}${place}\n` +
      `${quantity(total, unit)} (${percent(total, tree.total)}), ${quantity(tree.self[node]!, unit)} itself${delta}`
    );
  }
}

/** One hue a package: its frames belong together. */
function hue(name: string): number {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  let hash = 5381;
  for (const letter of dot < 0 ? name : name.slice(0, dot)) hash = (Math.imul(hash, 33) ^ letter.charCodeAt(0)) >>> 0;
  return hash % 360;
}
