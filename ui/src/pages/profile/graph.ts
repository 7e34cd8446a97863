// The call graph: drawn by the server, moved and zoomed here.

import { getText } from "../../api";
import { h } from "../../dom";
import type { Context, View } from "./view";

const STEP = 1.25;

interface Box { readonly x: number; readonly y: number; readonly width: number; readonly height: number }

export async function graphView(context: Context): Promise<View> {
  const nodes = context.state().get("nodes") || "80";
  const text = await getText(context.path("graph", { nodes }));
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (!(parsed instanceof SVGSVGElement)) throw new Error("the server sent no picture");
  const svg = document.importNode(parsed, true);
  svg.querySelectorAll("script, style").forEach((part) => part.remove());
  const place = h("div", { class: "graph", tabindex: 0, "data-testid": "graph" }, svg);
  const view = new PanZoom(svg, place, context);
  const select = h("select", { "aria-label": "nodes", change: () => context.show({ nodes: select.value }) });
  for (const count of ["20", "40", "80", "160", "400"]) select.append(h("option", { value: count, selected: count === nodes }, `${count} nodes`));
  const button = (label: string, act: () => void): HTMLElement => h("button", { type: "button", click: act }, label);
  svg.addEventListener("click", (event) => {
    const name = nodeName(event);
    if (name && !view.hasMoved) context.menu(name, event.clientX, event.clientY);
  });
  svg.addEventListener("contextmenu", (event) => {
    const name = nodeName(event);
    if (!name) return;
    event.preventDefault();
    context.menu(name, event.clientX, event.clientY);
  });
  return {
    element: h("div", {},
      h("div", { class: "tools" }, select, button("+", () => view.zoom(1 / STEP)), button("−", () => view.zoom(STEP)), button("all", () => view.all()),
        h("span", { class: "dim" }, "drag moves, the wheel zooms, click a function for what can be done")),
      place),
    search(pattern) {
      let found = 0;
      for (const node of svg.querySelectorAll<SVGGElement>(".node")) {
        const isFound = pattern !== null && pattern.test(node.dataset["function"] ?? "");
        node.classList.toggle("found", isFound);
        node.classList.toggle("pale", pattern !== null && !isFound);
        found += Number(isFound);
      }
      return pattern ? `${found} nodes` : "";
    },
    key: (event) => view.key(event),
    close: () => view.close(),
  };
}

function nodeName(event: Event): string {
  const node = event.target instanceof Element ? event.target.closest<SVGGElement>(".node") : null;
  return node?.dataset["function"] ?? "";
}

class PanZoom {
  hasMoved = false;
  private readonly whole: Box;
  private box: Box;
  private keepLater = 0;

  constructor(private readonly svg: SVGSVGElement, place: HTMLElement, private readonly context: Context) {
    const { x, y, width, height } = svg.viewBox.baseVal;
    this.whole = { x, y, width: width || 1, height: height || 1 };
    this.box = this.whole;
    svg.setAttribute("width", "100%");
    svg.setAttribute("height", "100%");
    const kept = context.state().get("graph").split(",").map(Number);
    if (kept.length === 4 && kept.every(Number.isFinite) && kept[2]! > 0 && kept[3]! > 0) {
      this.box = { x: kept[0]!, y: kept[1]!, width: kept[2]!, height: kept[3]! };
    }
    this.apply();
    place.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? STEP : 1 / STEP, event);
    }, { passive: false });
    place.addEventListener("pointerdown", (event) => {
      if (event.button === 0) this.drag(event);
    });
  }

  close(): void {
    clearTimeout(this.keepLater);
  }

  all(): void {
    this.move(this.whole);
  }

  /** Changes the scale; the point of the event, or the middle, stays where it is. */
  zoom(factor: number, event?: MouseEvent): void {
    const matrix = event && this.svg.getScreenCTM();
    const at = event && matrix ? new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse())
      : { x: this.box.x + this.box.width / 2, y: this.box.y + this.box.height / 2 };
    const { x, y, width, height } = this.box;
    if (width * factor > 20 * this.whole.width || width * factor < this.whole.width / 500) return;
    this.move({ x: at.x - (at.x - x) * factor, y: at.y - (at.y - y) * factor, width: width * factor, height: height * factor });
  }

  key(event: KeyboardEvent): boolean {
    const [x, y] = [this.box.width / 10, this.box.height / 10];
    const moves: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-x, 0], a: [-x, 0], ArrowRight: [x, 0], d: [x, 0], ArrowUp: [0, -y], w: [0, -y], ArrowDown: [0, y], s: [0, y],
    };
    const by = moves[event.key];
    if (by) this.move({ ...this.box, x: this.box.x + by[0], y: this.box.y + by[1] });
    else if (event.key === "+" || event.key === "=") this.zoom(1 / STEP);
    else if (event.key === "-") this.zoom(STEP);
    else if (event.key === "0" || event.key === "Escape") this.all();
    else return false;
    return true;
  }

  private drag(down: PointerEvent): void {
    const [from, matrix] = [this.box, this.svg.getScreenCTM()];
    if (!matrix) return;
    this.hasMoved = false;
    const move = (event: PointerEvent): void => {
      const [dx, dy] = [event.clientX - down.clientX, event.clientY - down.clientY];
      if (Math.abs(dx) + Math.abs(dy) > 4) this.hasMoved = true;
      if (this.hasMoved) this.move({ ...from, x: from.x - dx / matrix.a, y: from.y - dy / matrix.d });
    };
    const up = (): void => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", up);
    };
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", up);
  }

  private move(box: Box): void {
    this.box = box;
    this.apply();
    clearTimeout(this.keepLater);
    // Browsers refuse too many changes of the address in a row.
    this.keepLater = setTimeout(() => {
      const text = [box.x, box.y, box.width, box.height].map((value) => value.toFixed(1)).join(",");
      this.context.keep({ graph: box === this.whole ? "" : text });
    }, 200);
  }

  private apply(): void {
    const { x, y, width, height } = this.box;
    this.svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  }
}
