// What retains what as nested rectangles. A click zooms; the address keeps where.

import { colour, h, isDark, prepare } from "../../dom";
import { bytes, percent } from "../../format";
import type { HeapObject, MapNode } from "../../heapapi";
import { count, nodeLine } from "./parts";
import type { Context, View } from "./view";

/** Long chains of one holder each are common. */
const DEPTH = 12;
const NODES = 6_000;
const HEAD = 16;
const GAP = 2;

interface Box {
  readonly node: MapNode;
  readonly depth: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export async function treemapView(context: Context): Promise<View> {
  const state = context.state();
  const node = state.get("node") || "root";
  const group = state.get("group") === "type" ? "type" : "";
  const [map, above] = await Promise.all([
    context.ask<MapNode>("treemap", { node, group, depth: String(DEPTH), nodes: String(NODES) }),
    context.ask<HeapObject>("object", { node, limit: "0" }),
  ]);
  const canvas = h("canvas", { "data-testid": "treemap", tabindex: 0, role: "img",
    "aria-label": "what retains what; arrow keys move, Enter zooms in, Escape zooms out" });
  const info = h("div", { class: "info mono", "data-testid": "mapinfo", "aria-live": "polite" });
  const treemap = new Treemap(context, canvas, info, map);
  const observer = new ResizeObserver(() => treemap.draw());
  observer.observe(canvas);
  const change = (wanted: string) => (): void => context.show({ group: wanted });
  return {
    element: h("div", {},
      h("div", { class: "tools" },
        h("span", { class: "group" },
          h("button", { type: "button", "aria-pressed": String(!group), click: change("") }, "objects"),
          h("button", { type: "button", "aria-pressed": String(Boolean(group)), click: change("type") }, "grouped by type")),
        h("a", { href: context.link({ view: "dominators", node: node === "root" ? "" : node }) }, "as a tree"),
        h("span", { class: "dim" }, "areas are retained bytes; click to zoom in")),
      h("nav", { class: "hint", "aria-label": "dominators" }, ...crumbs(context, above)),
      canvas, info),
    key: (event) => treemap.key(event),
    close: () => observer.disconnect(),
  };
}

/** The way from the roots to what is shown, each step a zoom out. */
function crumbs(context: Context, node: HeapObject): (HTMLElement | string)[] {
  const outer = node.dominators.toReversed().flatMap((above) => [
    h("a", { class: "mono", href: context.link({ view: "treemap", node: above.kind === "root" ? "" : above.node }) }, above.name), " › ",
  ]);
  return [...outer, nodeLine(context, node)];
}

class Treemap {
  private boxes: Box[] = [];
  private current: Box | null = null;

  constructor(private readonly context: Context, private readonly canvas: HTMLCanvasElement, private readonly info: HTMLElement, private readonly map: MapNode) {
    canvas.addEventListener("mousemove", (event) => this.hover(event));
    canvas.addEventListener("mouseleave", () => this.mark(null));
    canvas.addEventListener("click", (event) => {
      const box = this.at(event);
      if (box) this.zoom(box.node);
    });
    this.tell(map);
  }

  draw(): void {
    const height = Math.max(300, window.innerHeight - 320);
    const paint = prepare(this.canvas, height);
    this.boxes = [];
    const width = this.canvas.clientWidth;
    this.lay(this.map, 0, { x: 0, y: 0, width, height });
    paint.clearRect(0, 0, width, height);
    paint.font = "11.5px system-ui, sans-serif";
    paint.textBaseline = "middle";
    const [text, line] = [colour("fg"), colour("bg")];
    for (const box of this.boxes) this.paint(paint, box, text, line);
    const { current } = this;
    if (current) {
      paint.strokeStyle = colour("accent");
      paint.lineWidth = 2;
      paint.strokeRect(current.x + 1, current.y + 1, Math.max(0, current.width - 2), Math.max(0, current.height - 2));
    }
  }

  key(event: KeyboardEvent): boolean {
    if (event.key === "Escape") {
      if (this.context.state().get("node")) history.back();
      return true;
    }
    if (document.activeElement !== this.canvas) return false;
    if (event.key === "Enter") {
      if (this.current) this.zoom(this.current.node);
      return true;
    }
    const directions: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const by = directions[event.key];
    if (by === undefined) return false;
    // In the order of size within the order of nesting.
    const inner = this.boxes.filter((box) => box.depth > 0);
    const { current } = this;
    const at = inner.findIndex((box) => box.node === current?.node);
    this.mark(inner[(at + by + inner.length) % inner.length] ?? null);
    return true;
  }

  private lay(node: MapNode, depth: number, area: Omit<Box, "node" | "depth">): void {
    this.boxes.push({ node, depth, ...area });
    const inner = { x: area.x + GAP, y: area.y + HEAD, width: area.width - 2 * GAP, height: area.height - HEAD - GAP };
    if (inner.width < 6 || inner.height < 6) return;
    const parts = node.below.filter((below) => below.retained_bytes > 0);
    for (const [below, box] of squarify(parts, node.retained_bytes, inner)) {
      if (box.width >= 1.5 && box.height >= 1.5) this.lay(below, depth + 1, box);
    }
  }

  private paint(paint: CanvasRenderingContext2D, { node, depth, x, y, width, height }: Box, text: string, line: string): void {
    paint.fillStyle = fill(node.name, depth);
    paint.fillRect(x, y, width, height);
    paint.strokeStyle = line;
    paint.lineWidth = 1;
    paint.strokeRect(x + 0.5, y + 0.5, width, height);
    if (width < 40 || height < 12) return;
    paint.save();
    paint.beginPath();
    paint.rect(x, y, width - 3, height);
    paint.clip();
    paint.fillStyle = text;
    paint.fillText(`${title(node)}  ${bytes(node.retained_bytes)}`, x + 4, y + HEAD / 2);
    paint.restore();
  }

  private hover(event: MouseEvent): void {
    const box = this.at(event);
    if (box?.node !== this.current?.node) this.mark(box);
  }

  private mark(box: Box | null): void {
    this.current = box;
    this.draw();
    this.tell(box?.node ?? this.map);
  }

  private tell(node: MapNode): void {
    const rest = node.rest.count ? `; ${count(node.rest.count, "smaller part")} not shown (${bytes(node.rest.retained_bytes)})` : "";
    this.info.textContent = `${title(node)} ${node.address ?? ""}\nretains ${bytes(node.retained_bytes)} ` +
      `(${percent(node.retained_bytes, this.context.summary.live_bytes)}) in ${count(node.retained_objects, "object")}${rest}`;
  }

  private at(event: MouseEvent): Box | null {
    const area = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    // The innermost was laid last.
    return this.boxes.findLast((box) => x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height) ?? null;
  }

  private zoom(node: MapNode): void {
    if (node === this.map || !node.node) return;
    if (node.has_children) this.context.show({ node: node.node });
    else this.context.show({ view: "why", object: node.node });
  }
}

function title(node: MapNode): string {
  return node.count > 1 ? `${node.count.toLocaleString("en")} ${node.name}` : node.name;
}

type Area = Omit<Box, "node" | "depth">;

/** Lays parts, largest first, into rows as square as they go. What is left free is the node itself and what is not shown. */
export function squarify(parts: readonly MapNode[], whole: number, area: Area): [MapNode, Area][] {
  const placed: [MapNode, Area][] = [];
  const scale = (area.width * area.height) / (whole || 1);
  let free = { ...area };
  let row: MapNode[] = [];
  const size = (list: readonly MapNode[]): number => list.reduce((sum, node) => sum + node.retained_bytes * scale, 0);
  const worst = (list: readonly MapNode[], side: number): number => {
    const thick = size(list) / side;
    return Math.max(...list.map((node) => {
      const long = (node.retained_bytes * scale) / thick;
      return Math.max(thick / long, long / thick);
    }));
  };
  const place = (): void => {
    if (row.length === 0) return;
    const isWide = free.width >= free.height;
    const side = isWide ? free.height : free.width;
    const thick = Math.min(size(row) / (side || 1), isWide ? free.width : free.height);
    let at = 0;
    for (const node of row) {
      const long = (node.retained_bytes * scale) / (thick || 1);
      placed.push([node, isWide
        ? { x: free.x, y: free.y + at, width: thick, height: long }
        : { x: free.x + at, y: free.y, width: long, height: thick }]);
      at += long;
    }
    free = isWide
      ? { ...free, x: free.x + thick, width: free.width - thick }
      : { ...free, y: free.y + thick, height: free.height - thick };
    row = [];
  };
  for (const part of parts) {
    const side = Math.min(free.width, free.height);
    if (row.length > 0 && worst([...row, part], side) > worst(row, side)) place();
    row.push(part);
  }
  place();
  return placed;
}

/** One hue a package; paler outside. */
function fill(name: string, depth: number): string {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  let hash = 5381;
  for (const letter of name.slice(0, dot < 0 ? name.length : dot)) hash = (Math.imul(hash, 33) ^ (letter.codePointAt(0) ?? 0)) >>> 0;
  const light = isDark() ? 20 + 4 * Math.min(depth, 6) : 94 - 4 * Math.min(depth, 6);
  return `hsl(${hash % 360} ${depth === 0 ? 5 : 40}% ${light}%)`;
}
