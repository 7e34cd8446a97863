// Mutator utilisation: the least part of the Ps that the collector left to the program, in any
// window of a length.

import { colour, h, prepare } from "../../dom";
import type { Mmu, MmuPoint } from "../../traceapi";
import { type Context, type View, nanos } from "./view";

const HEIGHT = 300;
const LEFT = 60;
const BOTTOM = 24;
const TOP = 8;

interface Curve { readonly label: string; readonly hue: number; readonly of: (point: MmuPoint) => number }

const CURVES: readonly Curve[] = [
  { label: "the worst window", hue: 0, of: (point) => point.minimum },
  { label: "1 % of windows are worse", hue: 35, of: (point) => point.low_1_percent },
  { label: "5 % of windows are worse", hue: 140, of: (point) => point.low_5_percent },
];

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

export async function mmuView(context: Context): Promise<View> {
  const mmu = await context.ask<Mmu>("mmu");
  const canvas = h("canvas", { "aria-label": "mutator utilisation", "data-testid": "mmu" });
  const info = h("div", { class: "info", "aria-live": "polite" });
  let pointer: number | null = null;
  const draw = (): void => {
    if (canvas.clientWidth > 0) paint(canvas, mmu.curve, pointer, info);
  };
  canvas.addEventListener("mousemove", (event) => {
    pointer = event.offsetX;
    draw();
  });
  canvas.addEventListener("mouseleave", () => {
    pointer = null;
    draw();
  });
  const observer = new ResizeObserver(draw);
  const rows = mmu.worst.map((window) => h("tr", {},
    h("td", {}, h("a", { href: `/trace/${context.id}?from=${Math.round(window.start_nanos)}&to=${Math.round(window.start_nanos + mmu.window_nanos)}` },
      nanos(window.start_nanos))),
    h("td", { class: "num" }, percent(window.utilization))));
  const element = h("div", {},
    h("p", { class: "dim" }, "In every window of this length the program had at least this part of the Ps; the rest went to the collector: ",
      "stops of the world, background workers, assists and sweeping."),
    h("div", { class: "legend" }, ...CURVES.map(({ label, hue }) => h("span", {}, h("i", { style: `background: hsl(${hue} 65% 50%)` }), label))),
    canvas, info,
    h("h2", {}, `The worst windows of ${nanos(mmu.window_nanos)}`),
    h("table", { "data-testid": "worst" }, h("thead", {}, h("tr", {}, h("th", {}, "begins"), h("th", { class: "num" }, "left to the program"))), h("tbody", {}, ...rows)));
  observer.observe(element);
  return { element, close: () => observer.disconnect() };
}

/** Lengths of windows grow by factors, so the axis is logarithmic. */
function paint(canvas: HTMLCanvasElement, curve: readonly MmuPoint[], pointer: number | null, info: HTMLElement): void {
  const context = prepare(canvas, HEIGHT);
  const floor = HEIGHT - BOTTOM;
  const [first, last] = [Math.log(curve[0]?.window_nanos ?? 1), Math.log(curve.at(-1)?.window_nanos ?? 2)];
  const x = (window: number): number => LEFT + ((Math.log(window) - first) / Math.max(last - first, 1e-9)) * (canvas.clientWidth - LEFT - 10);
  const y = (share: number): number => floor - share * (floor - TOP);
  context.font = "11px system-ui";
  context.strokeStyle = colour("line");
  context.fillStyle = colour("dim");
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    line(context, [[LEFT, y(share)], [canvas.clientWidth - 10, y(share)]]);
    context.fillText(percent(share), 8, y(share) + 4);
  }
  for (let window = 1e3; window <= Math.exp(last) * 1.001; window *= 10) {
    if (Math.log(window) < first) continue;
    line(context, [[x(window), TOP], [x(window), floor]]);
    context.fillText(nanos(window), Math.min(x(window), canvas.clientWidth - 44), floor + 16);
  }
  context.lineWidth = 1.8;
  for (const { hue, of } of CURVES) {
    context.strokeStyle = `hsl(${hue} 65% 50%)`;
    line(context, curve.map((point) => [x(point.window_nanos), y(of(point))]));
  }
  const near = pointer === null ? undefined
    : curve.toSorted((a, b) => Math.abs(x(a.window_nanos) - pointer) - Math.abs(x(b.window_nanos) - pointer))[0];
  info.textContent = near ? `windows of ${nanos(near.window_nanos)}: ${CURVES.map(({ label, of }) => `${label} ${percent(of(near))}`).join(" · ")}` : "";
}

function line(context: CanvasRenderingContext2D, points: readonly (readonly [number, number])[]): void {
  context.beginPath();
  points.forEach(([x, y], index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}
