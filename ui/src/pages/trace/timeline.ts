// The timeline: heap, goroutines, the collector, and what runs on each P. The server sends what
// the width of the page can show, however much there is; zooming asks again.

import { h } from "../../dom";
import type { Timeline } from "../../traceapi";
import { throttled } from "../../live";
import { TimelineCanvas } from "./canvas";
import { type Context, type View, moment, nanos } from "./view";

const REFRESH_MS = 60;
/** One step of a key or of the wheel. */
const ZOOM = 1.35;
const PAN = 0.2;
const SPAN_MIN = 200;

export async function timelineView(context: Context): Promise<View> {
  const view = new TimelineView(context);
  await view.load();
  return view;
}

class TimelineView implements View {
  readonly element: HTMLElement;
  private readonly canvas: TimelineCanvas;
  private readonly range = h("span", { class: "dim", "data-testid": "range" });
  private readonly whole: number;
  private readonly refresh = throttled(REFRESH_MS, () => void this.load());
  private from: number;
  private to: number;
  private turn = 0;

  constructor(private readonly context: Context) {
    this.whole = Math.max(1, context.summary.duration_nanos);
    this.from = Number(context.parameter("from") || 0);
    this.to = Number(context.parameter("to") || this.whole);
    this.clamp();
    this.canvas = new TimelineCanvas({
      zoom: (factor, at) => this.zoom(factor, at),
      pan: (share) => this.pan(share),
      select: (from, to) => this.move(from, to),
      pick: (goroutine) => this.pick(goroutine),
    });
    const button = (label: string, title: string, act: () => void): HTMLElement => h("button", { type: "button", title, click: act }, label);
    this.element = h("div", {},
      h("div", { class: "tools" },
        button("+", "zoom in (w)", () => this.zoom(1 / ZOOM, 0.5)), button("−", "zoom out (s)", () => this.zoom(ZOOM, 0.5)),
        button("all", "the whole trace (0)", () => this.move(0, this.whole)), this.range,
        h("span", { class: "dim" }, "wheel zooms, dragging moves, Shift and dragging selects, a click follows a goroutine; keys w s a d 0")),
      this.canvas.element);
  }

  key(event: KeyboardEvent): boolean {
    const acts: Readonly<Record<string, () => void>> = {
      w: () => this.zoom(1 / ZOOM, this.canvas.pointer()), s: () => this.zoom(ZOOM, this.canvas.pointer()),
      a: () => this.pan(-PAN), d: () => this.pan(PAN), 0: () => this.move(0, this.whole),
    };
    const act = acts[event.key];
    act?.();
    return act !== undefined;
  }

  close(): void {
    this.turn += 1;
    this.canvas.close();
  }

  /** Asks for what is to be seen; what was there is shown stretched until it comes. */
  async load(): Promise<void> {
    this.turn += 1;
    const mine = this.turn;
    const answer = await this.context.ask<Timeline>("timeline", {
      from: String(Math.floor(this.from)), to: String(Math.ceil(this.to)), pixels: String(this.canvas.pixels()),
      goroutines: this.context.parameter("g"),
    });
    if (mine === this.turn) this.canvas.show(answer);
    this.label();
  }

  private zoom(factor: number, at: number): void {
    const middle = this.from + (this.to - this.from) * at;
    const span = Math.min(this.whole, Math.max(SPAN_MIN, (this.to - this.from) * factor));
    this.move(middle - span * at, middle + span * (1 - at));
  }

  private pan(share: number): void {
    const by = (this.to - this.from) * share;
    this.move(this.from + by, this.to + by);
  }

  private move(from: number, to: number): void {
    [this.from, this.to] = [from, to];
    this.clamp();
    this.canvas.view(this.from, this.to);
    const isWhole = this.from === 0 && this.to === this.whole;
    this.context.keep({ from: isWhole ? "" : String(Math.round(this.from)), to: isWhole ? "" : String(Math.round(this.to)) });
    this.label();
    this.refresh();
  }

  /** Gives a goroutine a track of its own, or takes it away. */
  private pick(goroutine: number): void {
    const picked = this.context.parameter("g").split(",").filter(Boolean);
    const id = String(goroutine);
    this.context.keep({ g: (picked.includes(id) ? picked.filter((one) => one !== id) : [...picked, id]).join(",") });
    this.refresh();
  }

  /** Keeps the span within the trace, and as long as it is where that is possible. */
  private clamp(): void {
    const span = Math.min(this.whole, Math.max(SPAN_MIN, this.to - this.from));
    this.from = Math.max(0, Math.min(this.from, this.whole - span));
    this.to = this.from + span;
  }

  private label(): void {
    const span = this.to - this.from;
    this.range.textContent = `${nanos(span)}, from ${moment(this.from, span)} to ${moment(this.to, span)} of ${nanos(this.whole)}`;
  }
}
