// A timeline on a canvas: lines over a common time axis, marks and bands.

import { colour, h, prepare } from "../dom";
import { clock } from "../format";

export interface Line {
  readonly name: string;
  readonly label: string;
  readonly hue: number;
  readonly values: readonly (number | null)[];
}

export interface Mark { readonly time: number; readonly label: string; readonly href: string }
export interface Band { readonly from: number; readonly to: number; readonly label: string; readonly isBad: boolean }

export interface ChartData {
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly marks: readonly Mark[];
  readonly bands: readonly Band[];
  /** The lines are parts of a whole and stand on one another, the first at the bottom. */
  readonly isStacked?: boolean;
  /** A horizontal line, such as a limit. */
  readonly level: { readonly value: number; readonly label: string } | null;
}

/** Where grid lines are: at powers of two, as bytes want them, at whole numbers, or anywhere. */
export type Grid = "binary" | "whole" | "any";

const LEFT = 74;
const BOTTOM = 26;
const TOP = 8;

export class Chart {
  readonly element: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly legend = h("div", { class: "legend" });
  private readonly observer: ResizeObserver;
  private readonly hidden = new Set<string>();
  private data: ChartData = { times: [], lines: [], marks: [], bands: [], level: null };
  private pointer: number | null = null;

  constructor(
    title: string,
    private readonly height: number,
    private readonly format: (value: number) => string,
    private readonly grid: Grid,
    private readonly open: (href: string) => void,
    private readonly time: (value: number) => string = clock,
  ) {
    this.canvas = h("canvas", { "aria-label": title, "data-testid": "chart" });
    this.element = h("div", {}, this.legend, this.canvas);
    this.canvas.addEventListener("mousemove", (event) => {
      this.pointer = event.offsetX;
      this.draw();
    });
    this.canvas.addEventListener("mouseleave", () => {
      this.pointer = null;
      this.draw();
    });
    this.canvas.addEventListener("click", (event) => {
      const mark = this.markAt(event.offsetX);
      if (mark) this.open(mark.href);
    });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  close(): void {
    this.observer.disconnect();
  }

  show(data: ChartData): void {
    this.data = data;
    this.draw();
  }

  private visible(): readonly Line[] {
    return this.data.lines.filter((line) => !this.hidden.has(line.name) && line.values.some((value) => value !== null));
  }

  private range(): { readonly from: number; readonly to: number } {
    const { times } = this.data;
    const from = times[0] ?? 0;
    return { from, to: Math.max(times[times.length - 1] ?? 1, from + 1000) };
  }

  private x(time: number): number {
    const { from, to } = this.range();
    return LEFT + ((time - from) / (to - from)) * (this.canvas.clientWidth - LEFT - 10);
  }

  private markAt(x: number): Mark | null {
    let best: Mark | null = null;
    for (const mark of this.data.marks) {
      if (Math.abs(this.x(mark.time) - x) <= 4) best = mark;
    }
    return best;
  }

  private draw(): void {
    if (this.canvas.clientWidth === 0) return;
    const context = prepare(this.canvas, this.height);
    const lines = this.visible();
    const tops = this.data.isStacked ? stacked(lines) : lines.map((line) => line.values);
    let top = 0;
    for (const values of tops) for (const value of values) top = Math.max(top, value ?? 0);
    if (top === 0 || (this.grid !== "any" && top < 1)) top = 1;
    const { level } = this.data;
    // A limit far above would flatten everything: it is shown when it is near.
    const showsLevel = level !== null && level.value < top * 3;
    if (showsLevel) top = Math.max(top, level.value);
    top *= 1.06;
    const floor = this.height - BOTTOM;
    const y = (value: number): number => floor - (value / top) * (floor - TOP);
    this.drawBands(context, floor);
    this.drawAxes(context, top, floor, y);
    if (showsLevel) this.drawLevel(context, y(level.value), level.label);
    // The highest first: what stands lower covers it.
    if (this.data.isStacked) lines.toReversed().forEach((line, index) => this.drawArea(context, line, tops[lines.length - 1 - index]!, y));
    else for (const line of lines) this.drawLine(context, line, line.values, y);
    this.drawMarks(context, floor);
    this.drawLegend(lines);
  }

  private drawBands(context: CanvasRenderingContext2D, floor: number): void {
    for (const band of this.data.bands) {
      const [from, to] = [Math.max(this.x(band.from), LEFT), this.x(band.to)];
      context.globalAlpha = 0.1;
      context.fillStyle = colour(band.isBad ? "bad" : "good");
      context.fillRect(from, TOP, Math.max(to - from, 1), floor - TOP);
      context.globalAlpha = 1;
      context.font = "11px system-ui";
      context.fillText(band.label, from + 4, TOP + 11);
    }
  }

  private drawAxes(context: CanvasRenderingContext2D, top: number, floor: number, y: (value: number) => number): void {
    const [dim, line] = [colour("dim"), colour("line")];
    context.font = "11px system-ui";
    context.lineWidth = 1;
    const step = niceStep(top / 4, this.grid);
    for (let value = 0; value <= top; value += step) {
      context.strokeStyle = line;
      context.beginPath();
      context.moveTo(LEFT, y(value));
      context.lineTo(this.canvas.clientWidth - 10, y(value));
      context.stroke();
      context.fillStyle = dim;
      context.textAlign = "right";
      context.fillText(this.format(value), LEFT - 6, y(value) + 4);
    }
    const { from, to } = this.range();
    context.textAlign = "center";
    const count = Math.max(2, Math.floor((this.canvas.clientWidth - LEFT) / 130));
    for (let i = 0; i <= count; i++) {
      const time = from + ((to - from) * i) / count;
      context.fillText(this.time(time), Math.min(this.x(time), this.canvas.clientWidth - 34), floor + 20);
    }
    context.textAlign = "left";
  }

  private drawLevel(context: CanvasRenderingContext2D, y: number, label: string): void {
    context.strokeStyle = context.fillStyle = colour("bad");
    context.setLineDash([6, 4]);
    context.beginPath();
    context.moveTo(LEFT, y);
    context.lineTo(this.canvas.clientWidth - 10, y);
    context.stroke();
    context.setLineDash([]);
    context.fillText(label, LEFT + 6, y - 4);
  }

  /** From the bottom up to the line, with gaps where nothing is known. */
  private drawArea(context: CanvasRenderingContext2D, line: Line, tops: readonly (number | null)[], y: (value: number) => number): void {
    context.fillStyle = stroke(line.hue);
    const { times } = this.data;
    let from = 0;
    while (from < tops.length) {
      let to = from;
      while (to < tops.length && tops[to] !== null) to += 1;
      if (to > from) {
        context.beginPath();
        context.moveTo(this.x(times[from]!), y(0));
        for (let i = from; i < to; i++) context.lineTo(this.x(times[i]!), y(tops[i]!));
        context.lineTo(this.x(times[to - 1]!), y(0));
        context.fill();
      }
      from = to + 1;
    }
  }

  private drawLine(context: CanvasRenderingContext2D, line: Line, values: readonly (number | null)[], y: (value: number) => number): void {
    context.strokeStyle = stroke(line.hue);
    context.lineWidth = 1.6;
    context.beginPath();
    let isDown = false;
    this.data.times.forEach((time, index) => {
      const value = values[index] ?? null;
      if (value === null) isDown = false;
      else if (isDown) context.lineTo(this.x(time), y(value));
      else {
        context.moveTo(this.x(time), y(value));
        isDown = true;
      }
    });
    context.stroke();
  }

  private drawMarks(context: CanvasRenderingContext2D, floor: number): void {
    context.fillStyle = colour("accent");
    for (const mark of this.data.marks) {
      const x = this.x(mark.time);
      if (x >= LEFT) context.fillRect(x - 1, floor + 1, 2, 6);
    }
    if (this.pointer === null || this.pointer < LEFT) return;
    context.strokeStyle = colour("dim");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(this.pointer, TOP);
    context.lineTo(this.pointer, floor);
    context.stroke();
    const mark = this.markAt(this.pointer);
    this.canvas.title = mark ? mark.label : "";
    this.canvas.style.cursor = mark ? "pointer" : "crosshair";
  }

  /** The legend shows the values under the pointer, else the latest. */
  private drawLegend(lines: readonly Line[]): void {
    const index = this.indexAtPointer();
    const time = this.data.times[index];
    const all = this.data.lines.filter((line) => line.values.some((value) => value !== null));
    this.legend.replaceChildren(
      h("span", { class: "dim" }, time === undefined ? "no data yet" : this.time(time)),
      ...all.map((line) => {
        const value = line.values[index] ?? null;
        const isShown = lines.includes(line);
        const text = `${line.label} ${value === null ? "-" : this.format(value)}`;
        const swatch = h("i", { style: `background:${stroke(line.hue)};opacity:${isShown ? 1 : 0.2}` });
        return h("a", { href: "#", click: (event) => this.toggle(event, line.name) }, swatch, text);
      }),
    );
  }

  private toggle(event: Event, name: string): void {
    event.preventDefault();
    event.stopPropagation();
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.draw();
  }

  private indexAtPointer(): number {
    const { times } = this.data;
    if (this.pointer === null) return times.length - 1;
    let best = times.length - 1;
    for (let i = 0; i < times.length; i++) {
      if (Math.abs(this.x(times[i]!) - this.pointer) < Math.abs(this.x(times[best]!) - this.pointer)) best = i;
    }
    return best;
  }
}

/** Where each line ends when all before it stand below; nothing is known where no part is. */
function stacked(lines: readonly Line[]): readonly (readonly (number | null)[])[] {
  const tops: (number | null)[][] = [];
  for (const line of lines) {
    const below = tops.at(-1);
    tops.push(line.values.map((value, index) => {
      const base = below?.[index] ?? null;
      return value === null && base === null ? null : (value ?? 0) + (base ?? 0);
    }));
  }
  return tops;
}

function stroke(hue: number): string {
  return `hsl(${hue} 65% 50%)`;
}

/** 1, 2 or 5 times a power of ten, or a power of two for bytes. */
function niceStep(rough: number, grid: Grid): number {
  if (grid === "binary") return 2 ** Math.max(0, Math.ceil(Math.log2(rough)));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
  return grid === "whole" ? Math.max(1, Math.round(step)) : step;
}
