// Draws a timeline: figures as areas above, tracks of slices below.

import { colour, h, prepare } from "../../dom";
import { bytes } from "../../format";
import { COLLECTING, type Slice, type Timeline, type Track } from "../../traceapi";
import { moment, nanos } from "./view";

const LEFT = 96;
const AXIS = 22;
const LANE = 22;
const GAP = 6;
const CHART = 70;
/** A slice that covers less of its stretch is drawn paler. */
const PALE = 0.3;
const WIDEST = 4000;
/** Moving less than so many pixels is no dragging. */
const CLICK = 3;

/** What stands together in one chart; later ones stand on earlier ones where they are stacked. */
interface Panel { readonly title: string; readonly names: readonly string[]; readonly isStacked: boolean; readonly format: (value: number) => string }

const PANELS: readonly Panel[] = [
  { title: "heap", names: ["goal", "heap"], isStacked: false, format: bytes },
  { title: "goroutines", names: ["running", "runnable"], isStacked: true, format: (value) => value.toLocaleString("en", { maximumFractionDigits: 1 }) },
];

const HUES: Readonly<Record<string, number>> = { heap: 210, goal: 35, running: 140, runnable: 45 };

interface Actions {
  readonly zoom: (factor: number, at: number) => void;
  readonly pan: (share: number) => void;
  readonly select: (from: number, to: number) => void;
  /** A goroutine was clicked. */
  readonly pick: (goroutine: number) => void;
}

export class TimelineCanvas {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { "aria-label": "timeline", "data-testid": "timeline", tabindex: 0 });
  private readonly info = h("div", { class: "info mono", "data-testid": "info", "aria-live": "polite" });
  private readonly observer: ResizeObserver;
  private data: Timeline | null = null;
  private from = 0;
  private to = 1;
  private at: { x: number; y: number } | null = null;
  private drag: { x: number; isSelecting: boolean; moved: number } | null = null;

  constructor(private readonly actions: Actions) {
    this.element = h("div", {}, this.canvas, this.info);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) actions.pan((event.deltaX || event.deltaY) / this.width());
      else actions.zoom(Math.exp(event.deltaY / 400), this.share(event.offsetX));
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.offsetX, isSelecting: event.shiftKey, moved: 0 };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => this.moved(event));
    this.canvas.addEventListener("pointerup", (event) => this.released(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.at = null;
      this.draw();
    });
    this.canvas.addEventListener("dblclick", (event) => {
      const hit = this.hit(event.offsetX, event.offsetY);
      if (hit) actions.select(hit.slice[0] - hit.slice[1] * 0.1, hit.slice[0] + hit.slice[1] * 1.1);
    });
  }

  close(): void {
    this.observer.disconnect();
  }

  /** How many columns the server is to fill. */
  pixels(): number {
    return Math.min(WIDEST, Math.max(200, Math.round(this.width()) || 1000));
  }

  /** Where the pointer is, from 0 to 1; the middle when it is elsewhere. */
  pointer(): number {
    return this.at ? this.share(this.at.x) : 0.5;
  }

  show(data: Timeline): void {
    this.data = data;
    this.view(data.from, data.to);
  }

  /** Shows another span of time with what is there. */
  view(from: number, to: number): void {
    [this.from, this.to] = [from, to];
    this.draw();
  }

  private width(): number {
    return this.canvas.clientWidth - LEFT;
  }

  private share(x: number): number {
    return Math.min(1, Math.max(0, (x - LEFT) / Math.max(1, this.width())));
  }

  private x(time: number): number {
    return LEFT + ((time - this.from) / (this.to - this.from)) * this.width();
  }

  private moved(event: PointerEvent): void {
    this.at = { x: event.offsetX, y: event.offsetY };
    const { drag } = this;
    if (drag && !drag.isSelecting) {
      const by = event.offsetX - drag.x;
      drag.x = event.offsetX;
      drag.moved += Math.abs(by);
      this.actions.pan(-by / this.width());
    }
    this.draw();
  }

  private released(event: PointerEvent): void {
    const { drag } = this;
    this.drag = null;
    if (drag && !drag.isSelecting && drag.moved < CLICK) {
      const hit = this.hit(event.offsetX, event.offsetY);
      if (hit && hit.slice[3] >= 0) this.actions.pick(hit.slice[3]);
    }
    if (!drag?.isSelecting) return;
    const [a, b] = [this.share(drag.x), this.share(event.offsetX)].toSorted((left, right) => left - right) as [number, number];
    const span = this.to - this.from;
    if (b - a > 0.003) this.actions.select(this.from + span * a, this.from + span * b);
    else this.draw();
  }

  private panels(): readonly Panel[] {
    const known = new Set(this.data?.series.map((series) => series.name));
    return PANELS.filter((panel) => panel.names.some((name) => known.has(name)));
  }

  private lanesTop(): number {
    return AXIS + this.panels().length * (CHART + GAP);
  }

  private hit(x: number, y: number): { readonly track: Track; readonly slice: Slice } | null {
    const index = Math.floor((y - this.lanesTop()) / LANE);
    const track = this.data?.tracks[index];
    if (!track || x < LEFT || y < this.lanesTop()) return null;
    const time = this.from + this.share(x) * (this.to - this.from);
    // A slice narrower than a pixel can still be pointed at.
    const slack = (this.to - this.from) / Math.max(1, this.width());
    const slice = track.slices.find((one) => one[0] - slack <= time && time < one[0] + one[1] + slack);
    return slice ? { track, slice } : null;
  }

  private draw(): void {
    const { data } = this;
    if (!data || this.canvas.clientWidth === 0) return;
    const top = this.lanesTop();
    const height = top + data.tracks.length * LANE + 4;
    const context = prepare(this.canvas, height);
    context.font = "11px system-ui";
    this.drawAxis(context, height);
    this.panels().forEach((panel, index) => this.drawPanel(context, panel, AXIS + index * (CHART + GAP)));
    data.tracks.forEach((track, index) => this.drawTrack(context, track, top + index * LANE));
    if (this.at) this.drawPointer(context, height);
    this.describe();
  }

  private drawAxis(context: CanvasRenderingContext2D, height: number): void {
    const step = niceStep((this.to - this.from) / Math.max(2, this.width() / 110));
    context.strokeStyle = colour("line");
    context.fillStyle = colour("dim");
    context.textAlign = "left";
    for (let time = Math.ceil(this.from / step) * step; time <= this.to; time += step) {
      const x = this.x(time);
      context.beginPath();
      context.moveTo(x, AXIS - 6);
      context.lineTo(x, height);
      context.stroke();
      context.fillText(moment(time, this.to - this.from), x + 3, 13);
    }
  }

  private drawPanel(context: CanvasRenderingContext2D, panel: Panel, top: number): void {
    const { data } = this;
    if (!data) return;
    const lines = panel.names.flatMap((name) => data.series.filter((series) => series.name === name));
    const count = lines[0]?.values.length ?? 0;
    const below = new Array<number>(count).fill(0);
    const shapes = lines.map(({ name, values }) => {
      const tops = values.map((value, index) => (value === null ? null : value + (panel.isStacked ? below[index]! : 0)));
      if (panel.isStacked) tops.forEach((value, index) => (below[index] = value ?? below[index]!));
      return { name, tops };
    });
    const largest = Math.max(1, ...shapes.flatMap(({ tops }) => tops.map((value) => value ?? 0)));
    const floor = top + CHART;
    const y = (value: number): number => floor - (value / largest) * (CHART - 4);
    const at = (index: number): number => this.x(data.from + ((index + 0.5) / count) * (data.to - data.from));
    context.save();
    context.beginPath();
    context.rect(LEFT, top, this.width(), CHART);
    context.clip();
    for (const { name, tops } of panel.isStacked ? shapes.toReversed() : shapes) {
      context.fillStyle = `hsl(${HUES[name] ?? 0} 55% 55% / ${name === "goal" ? 0.25 : 0.75})`;
      context.beginPath();
      context.moveTo(at(0), floor);
      tops.forEach((value, index) => context.lineTo(at(index), y(value ?? 0)));
      context.lineTo(at(count - 1), floor);
      context.fill();
    }
    context.restore();
    context.fillStyle = colour("fg");
    context.textAlign = "left";
    context.fillText(panel.title, 4, top + 14);
    context.fillStyle = colour("dim");
    context.fillText(panel.format(largest), 4, top + 28);
    panel.names.forEach((name, index) => {
      context.fillStyle = `hsl(${HUES[name] ?? 0} 55% 50%)`;
      context.fillText(name, 4, top + 42 + index * 12);
    });
  }

  private drawTrack(context: CanvasRenderingContext2D, track: Track, top: number): void {
    const { data } = this;
    if (!data) return;
    context.fillStyle = colour("fg");
    context.textAlign = "left";
    context.fillText(track.name, 4, top + 14);
    context.fillStyle = colour("panel");
    context.fillRect(LEFT, top + 1, this.width(), LANE - 3);
    const colours = { ink: colour("fg"), collecting: colour("bad") };
    for (const [start, length, name, , share, activity] of track.slices) {
      const [left, right] = [Math.max(LEFT, this.x(start)), Math.min(LEFT + this.width(), this.x(start + length))];
      if (right <= LEFT || left >= LEFT + this.width()) continue;
      const text = data.names[name] ?? "";
      context.globalAlpha = Math.max(PALE, share);
      context.fillStyle = activity === COLLECTING ? colours.collecting : `hsl(${hue(text)} 50% 60%)`;
      context.fillRect(left, top + 1, Math.max(right - left, 0.7), LANE - 3);
      context.globalAlpha = 1;
      if (right - left > 40) {
        context.fillStyle = colours.ink;
        context.fillText(fitted(context, text, right - left - 6), left + 3, top + 15);
      }
    }
  }

  private drawPointer(context: CanvasRenderingContext2D, height: number): void {
    const { at, drag } = this;
    if (!at || at.x < LEFT) return;
    if (drag?.isSelecting) {
      context.fillStyle = colour("accent");
      context.globalAlpha = 0.2;
      context.fillRect(Math.min(drag.x, at.x), 0, Math.abs(at.x - drag.x), height);
      context.globalAlpha = 1;
    }
    context.strokeStyle = colour("dim");
    context.beginPath();
    context.moveTo(at.x, 0);
    context.lineTo(at.x, height);
    context.stroke();
  }

  /** Says what is under the pointer. */
  private describe(): void {
    const { at, data } = this;
    if (!at || !data) {
      this.info.textContent = "";
      return;
    }
    const time = this.from + this.share(at.x) * (this.to - this.from);
    const hit = this.hit(at.x, at.y);
    const index = Math.min(pixelsOf(data) - 1, Math.max(0, Math.floor(((time - data.from) / (data.to - data.from)) * pixelsOf(data))));
    const figures = this.panels().flatMap((panel) => panel.names.flatMap((name) => {
      const value = data.series.find((series) => series.name === name)?.values[index];
      return value === undefined || value === null ? [] : [`${name} ${panel.format(value)}`];
    }));
    const what = hit ? sliceText(hit.track, hit.slice, data) : "";
    this.info.textContent = [`at ${moment(time, this.to - this.from)}`, ...figures].join(" · ") + (what ? `\n${what}` : "");
  }
}

function pixelsOf(data: Timeline): number {
  return data.series[0]?.values.length ?? 1;
}

function sliceText(track: Track, slice: Slice, data: Timeline): string {
  const [start, length, name, goroutine, share] = slice;
  const who = goroutine >= 0 ? `goroutine ${goroutine}, ` : "";
  const part = share < 0.995 ? `, ${(share * 100).toFixed(0)} % of it` : "";
  return `${track.name}: ${data.names[name] ?? ""} (${who}${nanos(length)} from ${nanos(start)}${part})`;
}

/** The text, or as much of its end as fits: the ends of function names tell more. */
function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  const keep = Math.floor((text.length * width) / Math.max(1, context.measureText(text).width)) - 1;
  return keep < 2 ? "" : `…${text.slice(-keep)}`;
}

function hue(text: string): number {
  let hash = 7;
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) % 3600;
  return hash / 10;
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? rough;
}
