// Pixels of a flame graph. Each depth is one line of pixels, worked out in memory and
// repeated to the height of a row: the cost is that of the nodes in view and of the
// pixels, however many nodes share a pixel. Only labels are drawn through the canvas.

import type { Tree } from "../msf";

export const ROW = 19;
const LABEL_PIXELS = 30;
const GAP_FROM = 3;

/** What part of the tree is in view. */
export interface Window {
  /** Left edge and width, in units of weight. */
  readonly left: number;
  readonly width: number;
  /** First row in view, in CSS pixels. */
  readonly scroll: number;
  /** Rows above this depth are context. */
  readonly zoomDepth: number;
  /** Roots at the bottom. */
  readonly isFlame: boolean;
}

export interface Marks {
  readonly hover: number;
  readonly selected: number;
  /** Index of a function to show wherever it is. */
  readonly name: number;
}

export interface Look {
  readonly isDark: boolean;
  readonly ink: string;
  readonly accent: string;
}

export class Painter {
  /** One colour a node, as the canvas keeps pixels. */
  readonly colours: Uint32Array;
  private line = new Uint32Array(0);
  private pixels: ImageData | null = null;

  constructor(private readonly canvas: HTMLCanvasElement, private readonly tree: Tree) {
    this.colours = new Uint32Array(tree.count);
  }

  /** Top of a depth's row, in CSS pixels of the whole picture. */
  top(depth: number, isFlame: boolean): number {
    return (isFlame ? this.tree.depthMax - depth : depth) * ROW;
  }

  /** The node at a place of the canvas, or -1. */
  hit(x: number, y: number, window: Window): number {
    const row = Math.floor((y + window.scroll) / ROW);
    const depth = window.isFlame ? this.tree.depthMax - row : row;
    if (depth < 0 || depth > this.tree.depthMax) return -1;
    const at = window.left + (x / this.canvas.clientWidth) * window.width;
    const node = this.tree.rows[this.firstEndingAfter(depth, at)];
    const isHit = node !== undefined && this.tree.depth[node] === depth && this.tree.start[node]! <= at;
    return isHit ? node : -1;
  }

  paint(window: Window, marks: Marks, look: Look): void {
    const ratio = globalThis.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    if (this.canvas.width !== width || this.canvas.height !== height || !this.pixels) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.pixels = new ImageData(width, height);
      this.line = new Uint32Array(width);
    }
    const context = this.canvas.getContext("2d");
    if (!context) throw new Error("this browser has no 2D canvas");
    const words = new Uint32Array(this.pixels.data.buffer);
    words.fill(0);
    const depths = this.depthsInView(window);
    for (const depth of depths) {
      this.fillLine(depth, window, marks, look.isDark);
      const from = Math.round((this.top(depth, window.isFlame) - window.scroll) * ratio);
      const to = Math.min(height, from + Math.round((ROW - 1) * ratio));
      for (let y = Math.max(0, from); y < to; y++) words.set(this.line, y * width);
    }
    context.putImageData(this.pixels, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.labels(context, depths, window, look);
    this.outline(context, marks.hover, window, look.ink, 1);
    this.outline(context, marks.selected, window, look.accent, 2);
  }

  private depthsInView(window: Window): number[] {
    const { depthMax } = this.tree;
    const rows = Math.ceil(this.canvas.clientHeight / ROW) + 1;
    const first = Math.floor(window.scroll / ROW);
    const depths: number[] = [];
    for (let row = first; row < first + rows && row <= depthMax; row++) depths.push(window.isFlame ? depthMax - row : row);
    return depths;
  }

  /** Index into `rows` of the first node of a depth that ends right of `at`. */
  private firstEndingAfter(depth: number, at: number): number {
    const { rows, rowStart, start, weight } = this.tree;
    let [low, high] = [rowStart[depth]!, rowStart[depth + 1]!];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const node = rows[middle]!;
      if (start[node]! + weight[node]! <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private fillLine(depth: number, window: Window, marks: Marks, isDark: boolean): void {
    const { rows, rowStart, start, weight, name } = this.tree;
    const { line, colours } = this;
    const scale = line.length / window.width;
    const [isContext, end] = [depth < window.zoomDepth, rowStart[depth + 1]!];
    line.fill(0);
    for (let at = this.firstEndingAfter(depth, window.left); at < end; at++) {
      const node = rows[at]!;
      const x0 = Math.max(0, Math.round((start[node]! - window.left) * scale));
      if (x0 >= line.length) break;
      const x1 = Math.min(line.length, Math.round((start[node]! + weight[node]! - window.left) * scale));
      let fill = colours[node]!;
      if (name[node] === marks.name) fill = emphasise(fill, isDark);
      if (isContext) fill = fade(fill);
      if (x1 - x0 >= GAP_FROM) line.fill(fill, x0, x1 - 1);
      // A node without a pixel of its own shows where nothing else does.
      else if (x1 > x0) line.fill(fill, x0, x1);
      else if (line[x0] === 0) line[x0] = fill;
    }
  }

  private labels(context: CanvasRenderingContext2D, depths: readonly number[], window: Window, look: Look): void {
    const { rows, rowStart, start, weight, name, strings } = this.tree;
    const full = this.canvas.clientWidth;
    const scale = full / window.width;
    context.font = "12px ui-monospace, Menlo, monospace";
    context.textBaseline = "middle";
    context.fillStyle = look.isDark ? "#f2f4f6" : "#16191c";
    const letter = context.measureText("mmmmmmmmmm").width / 10;
    const enough = LABEL_PIXELS / scale;
    for (const depth of depths) {
      const y = this.top(depth, window.isFlame) - window.scroll + ROW / 2;
      const end = rowStart[depth + 1]!;
      for (let at = this.firstEndingAfter(depth, window.left); at < end; at++) {
        const node = rows[at]!;
        if (weight[node]! < enough) continue;
        const x0 = Math.max(0, (start[node]! - window.left) * scale);
        if (x0 >= full) break;
        const x1 = Math.min(full, (start[node]! + weight[node]! - window.left) * scale);
        const text = fit(strings[name[node]!]!, Math.floor((x1 - x0 - 6) / letter));
        if (text) context.fillText(text, x0 + 3, y);
      }
    }
  }

  private outline(context: CanvasRenderingContext2D, node: number, window: Window, style: string, thick: number): void {
    if (node < 0) return;
    const scale = this.canvas.clientWidth / window.width;
    const x0 = Math.max(-2, (this.tree.start[node]! - window.left) * scale);
    const x1 = Math.min(this.canvas.clientWidth + 2, (this.tree.start[node]! + this.tree.weight[node]! - window.left) * scale);
    const y = this.top(this.tree.depth[node]!, window.isFlame) - window.scroll;
    context.strokeStyle = style;
    context.lineWidth = thick;
    context.strokeRect(x0 + 0.5, y + 0.5, Math.max(x1 - x0 - 1.6, 1), ROW - 2);
  }
}

/** The name if it fits, else without the path of its package, else its beginning. */
function fit(name: string, room: number): string {
  if (room < 3) return "";
  if (name.length <= room) return name;
  const short = name.slice(name.lastIndexOf("/") + 1);
  return short.length <= room ? short : `${short.slice(0, room - 1)}…`;
}

function emphasise(pixel: number, isDark: boolean): number {
  const part = (shift: number): number => {
    const value = (pixel >>> shift) & 255;
    return (isDark ? Math.min(255, value + 70) : Math.max(0, value - 60)) << shift;
  };
  return (0xff000000 | part(0) | part(8) | part(16)) >>> 0;
}

/** Half transparent: rows of context let the page show through. */
function fade(pixel: number): number {
  return ((pixel & 0xffffff) | 0x88000000) >>> 0;
}
