// Draws lives as bars over time, one a row; only rows in view.

import { colour, h, isDark } from "../../dom";
import { bytes, clock } from "../../format";
import type { Life } from "../../probesapi";
import { type Row, end, isBad, lived } from "./words";

const LEFT = 200;
const STRIP = 34;
const AXIS = 20;
const TOP = STRIP + AXIS;
const ROW = 18;
const INDENT = 9;
const DEPTH_MAX = 9;
/** A drag over fewer pixels is a click. */
const CLICK = 4;
/** A bar is at least as wide, however short the life. */
const BAR_MIN = 2;
const HEIGHT_MIN = 220;
/** Colours go from the peak of the smallest programs to that of large ones. */
const PEAK_LOW = 1 << 20;
const PEAK_HIGH = 4 * 2 ** 30;

export interface Shown {
  readonly from: number;
  readonly until: number;
  readonly rows: readonly Row[];
  /** How many began in each part of the time. */
  readonly beginnings: readonly number[];
}

export interface Actions {
  readonly select: (from: number, until: number) => void;
  readonly pick: (life: Life | null) => void;
}

export class LivesCanvas {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { "aria-label": "processes over time", "data-testid": "lives" });
  private readonly filler = h("div");
  private readonly box = h("div", { class: "flamebox" }, this.canvas, this.filler);
  private readonly info = h("div", { class: "info mono", "data-testid": "info", "aria-live": "polite" });
  private readonly observer: ResizeObserver;
  private data: Shown = { from: 0, until: 1, rows: [], beginnings: [] };
  private picked: number | null = null;
  private at: { x: number; y: number } | null = null;
  private from: number | null = null;

  constructor(private readonly actions: Actions) {
    this.element = h("div", { class: "lives" }, this.box, this.info);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.box.addEventListener("scroll", () => this.draw());
    this.canvas.addEventListener("pointerdown", (event) => {
      this.from = event.offsetX;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      this.at = { x: event.offsetX, y: event.offsetY };
      this.draw();
    });
    this.canvas.addEventListener("pointerleave", () => {
      this.at = null;
      this.draw();
    });
    this.canvas.addEventListener("pointerup", (event) => this.released(event));
  }

  close(): void {
    this.observer.disconnect();
  }

  show(data: Shown): void {
    this.data = data;
    this.draw();
  }

  /** Marks one, and brings it into view. */
  pick(id: number | null): void {
    this.picked = id;
    const index = this.data.rows.findIndex(({ life }) => life.id === id);
    const [top, room] = [index * ROW, this.box.clientHeight - TOP];
    if (index >= 0 && (top < this.box.scrollTop || top + ROW > this.box.scrollTop + room)) this.box.scrollTop = top - room / 2;
    this.draw();
  }

  private width(): number {
    return Math.max(1, this.canvas.clientWidth - LEFT);
  }

  private x(time: number): number {
    const { from, until } = this.data;
    return LEFT + ((time - from) / (until - from)) * this.width();
  }

  private time(x: number): number {
    const { from, until } = this.data;
    return from + (Math.min(1, Math.max(0, (x - LEFT) / this.width())) * (until - from));
  }

  private rowAt(y: number): Life | null {
    if (y < TOP) return null;
    return this.data.rows[Math.floor((y - TOP + this.box.scrollTop) / ROW)]?.life ?? null;
  }

  private released(event: PointerEvent): void {
    const { from } = this;
    this.from = null;
    if (from === null) return;
    if (Math.abs(event.offsetX - from) >= CLICK) {
      const [a, b] = [this.time(from), this.time(event.offsetX)].toSorted((left, right) => left - right) as [number, number];
      if (b > a) this.actions.select(a, b);
      return;
    }
    this.actions.pick(this.rowAt(event.offsetY));
  }

  private draw(): void {
    if (this.element.clientWidth === 0) return;
    const { rows } = this.data;
    const whole = TOP + rows.length * ROW + 4;
    const height = Math.round(Math.min(whole, Math.max(HEIGHT_MIN, globalThis.innerHeight * 0.55)));
    this.box.style.height = `${height}px`;
    this.filler.style.height = `${whole - height}px`;
    const context = sized(this.canvas, height);
    context.font = "11px system-ui";
    const colours = { ink: colour("fg"), dim: colour("dim"), line: colour("line"), bad: colour("bad"), accent: colour("accent") };
    const first = Math.floor(this.box.scrollTop / ROW);
    const last = Math.min(rows.length, first + Math.ceil((height - TOP) / ROW) + 1);
    context.save();
    context.beginPath();
    context.rect(0, TOP, this.canvas.clientWidth, height - TOP);
    context.clip();
    for (let index = first; index < last; index++) this.drawRow(context, rows[index]!, TOP + index * ROW - this.box.scrollTop, colours);
    context.restore();
    this.drawStrip(context, colours.accent);
    this.drawAxis(context, height, colours);
    this.drawPointer(context, height, colours);
    this.describe();
  }

  private drawRow(context: CanvasRenderingContext2D, row: Row, top: number, colours: Readonly<Record<"ink" | "dim" | "bad" | "accent", string>>): void {
    const { life } = row;
    const indent = 4 + Math.min(row.depth, DEPTH_MAX) * INDENT;
    if (life.id === this.picked) {
      context.fillStyle = colours.accent;
      context.globalAlpha = 0.16;
      context.fillRect(0, top, this.canvas.clientWidth, ROW);
      context.globalAlpha = 1;
    }
    context.fillStyle = colours.ink;
    context.fillText(cut(context, life.name, LEFT - indent - 54), indent, top + 13);
    context.fillStyle = colours.dim;
    context.textAlign = "right";
    context.fillText(String(life.pid), LEFT - 6, top + 13);
    context.textAlign = "left";
    const left = Math.max(LEFT, this.x(life.started_ms));
    const right = Math.min(LEFT + this.width(), life.ended_ms === null ? LEFT + this.width() : this.x(life.ended_ms));
    const width = Math.max(right - left, BAR_MIN);
    context.fillStyle = barColour(life.peak_rss_bytes);
    context.fillRect(left, top + 2, width, ROW - 5);
    if (life.oom_kill) {
      context.strokeStyle = colours.bad;
      context.lineWidth = 2;
      context.strokeRect(left + 1, top + 3, Math.max(width - 2, 1), ROW - 7);
    }
    // Beside the bar where there is room, else in it.
    const text = [life.peak_rss_bytes === null ? "" : bytes(life.peak_rss_bytes), life.ended_ms === null ? "" : end(life)].filter(Boolean).join(" · ");
    const room = context.measureText(text).width + 8;
    const isBeside = right + room < LEFT + this.width();
    if (!isBeside && width < room) return;
    context.fillStyle = isBad(life) && isBeside ? colours.bad : isBeside ? colours.dim : colours.ink;
    context.fillText(text, isBeside ? left + width + 4 : right - room + 4, top + 13);
  }

  private drawStrip(context: CanvasRenderingContext2D, fill: string): void {
    const { beginnings } = this.data;
    const most = Math.max(1, ...beginnings);
    const width = this.width() / Math.max(1, beginnings.length);
    context.fillStyle = fill;
    context.globalAlpha = 0.55;
    beginnings.forEach((count, index) => {
      const height = count === 0 ? 0 : Math.max(1, (count / most) * (STRIP - 4));
      context.fillRect(LEFT + index * width, STRIP - height, Math.max(1, width - 1), height);
    });
    context.globalAlpha = 1;
    context.fillStyle = colour("dim");
    context.fillText("beginnings", 4, 14);
    context.fillText(`at most ${most.toLocaleString("en")} in ${step((this.data.until - this.data.from) / Math.max(1, beginnings.length))}`, 4, 28);
  }

  private drawAxis(context: CanvasRenderingContext2D, height: number, colours: Readonly<Record<"dim" | "line", string>>): void {
    const count = Math.max(2, Math.floor(this.width() / 130));
    const span = this.data.until - this.data.from;
    for (let i = 0; i <= count; i++) {
      const x = LEFT + (this.width() * i) / count;
      context.strokeStyle = colours.line;
      context.lineWidth = 1;
      context.globalAlpha = 0.6;
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, STRIP);
      context.lineTo(Math.round(x) + 0.5, height);
      context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = colours.dim;
      if (i < count) context.fillText(moment(this.data.from + (span * i) / count, span), x + 3, STRIP + 14);
    }
  }

  private drawPointer(context: CanvasRenderingContext2D, height: number, colours: Readonly<Record<"dim" | "accent", string>>): void {
    if (!this.at || this.at.x < LEFT) return;
    if (this.from !== null && Math.abs(this.at.x - this.from) >= CLICK) {
      context.fillStyle = colours.accent;
      context.globalAlpha = 0.2;
      const from = Math.max(LEFT, this.from);
      context.fillRect(Math.min(from, this.at.x), 0, Math.abs(this.at.x - from), height);
      context.globalAlpha = 1;
    }
    context.strokeStyle = colours.dim;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(this.at.x, 0);
    context.lineTo(this.at.x, height);
    context.stroke();
  }

  /** Says what is under the pointer. */
  private describe(): void {
    const { at } = this;
    if (!at) {
      this.info.textContent = "drag selects a time, a click a process";
      return;
    }
    const life = this.rowAt(at.y);
    const time = at.x < LEFT ? "" : `at ${moment(this.time(at.x), this.data.until - this.data.from)}`;
    const peak = life?.peak_rss_bytes === null || life === null ? "" : `, at most ${bytes(life.peak_rss_bytes)}`;
    const what = life ? `${life.name} (pid ${life.pid}), ${lived(life, this.data.until)}${peak}, ${end(life)}\n${life.command}` : "";
    this.info.textContent = [time, what].filter(Boolean).join("   ");
  }
}

/** Sets its size only when it changes: that clears it, and is slow. */
function sized(canvas: HTMLCanvasElement, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  const [width, tall] = [Math.round(canvas.clientWidth * ratio), Math.round(height * ratio)];
  if (canvas.width !== width || canvas.height !== tall) [canvas.width, canvas.height] = [width, tall];
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no 2D canvas");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, height);
  return context;
}

/** From blue, little, to red, much; grey where it is not known. */
function barColour(peak: number | null): string {
  if (peak === null) return isDark() ? "#555b62" : "#b9bfc5";
  const share = Math.log(Math.max(peak, PEAK_LOW) / PEAK_LOW) / Math.log(PEAK_HIGH / PEAK_LOW);
  return `hsl(${215 - 205 * Math.min(1, share)} 60% ${isDark() ? 45 : 68}%)`;
}

function cut(context: CanvasRenderingContext2D, text: string, width: number): string {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > width) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown.slice(0, -1)}…`;
}

function moment(time: number, span: number): string {
  const millis = span < 30_000 ? `.${String(Math.floor(time) % 1000).padStart(3, "0")}` : "";
  return clock(time) + millis;
}

function step(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`;
}
