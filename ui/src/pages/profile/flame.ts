// The flame graph, the table, or both beside each other.

import { h } from "../../dom";
import { PathIds } from "../../pathid";
import { Flame } from "../../widgets/flame";
import { tableView } from "./table";
import { fetchTree, withOpened } from "./tree";
import type { Context, View } from "./view";

export async function flameView(context: Context): Promise<View> {
  const state = context.state();
  const tree = await fetchTree(context.meta.id, state);
  const ids = new PathIds(tree);
  const flame = new Flame(tree, {
    unit: context.unit(),
    zoom: Math.max(0, ids.find(state.get("z"))),
    relative: state.is("relative"),
    isFlame: state.get("orient") === "flame",
    label: "flame",
    onZoom: (node) => context.keep({ z: ids.of(node) }),
    onMenu: (node, x, y) => context.menu(tree.strings[tree.name[node]!]!, x, y),
    onOther: (node) => context.show({ open: withOpened(context.state(), tree, node), z: ids.of(tree.parent[node]!) }),
  });
  const hint = tree.isDiff
    ? "red has grown, blue has shrunk; width is the larger of before and now"
    : "click zooms, double or right click shows what can be done, ? lists the keys";
  return {
    element: h("div", {}, h("p", { class: "dim hint" }, hint), flame.element),
    search: (pattern) => flame.search(pattern),
    setRelative: (relative) => flame.setRelative(relative),
    key: (event) => flame.key(event),
    emphasise: (name) => flame.emphasise(name),
    close: () => flame.close(),
  };
}

const SPLIT = 42;

export async function bothView(context: Context): Promise<View> {
  // The table is asked for after the flame graph: that is what people look at first.
  const flame = await flameView(context);
  const place = h("div", { class: "place" }, h("p", { class: "dim" }, "table ..."));
  const bar = h("div", { class: "splitter", role: "separator", tabindex: 0, "aria-label": "width of the table", "aria-orientation": "vertical" });
  const element = h("div", { class: "split" }, place, bar, h("div", { class: "place" }, flame.element));
  let share = Number(context.state().get("split")) || SPLIT;
  const resize = (to: number): void => {
    share = Math.round(Math.max(10, Math.min(85, to)));
    element.style.gridTemplateColumns = `${share}fr 8px ${100 - share}fr`;
  };
  const keep = (): void => context.keep({ split: share === SPLIT ? "" : String(share) });
  resize(share);
  bar.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    bar.setPointerCapture(event.pointerId);
  });
  bar.addEventListener("pointermove", (event) => {
    if (!bar.hasPointerCapture(event.pointerId)) return;
    const box = element.getBoundingClientRect();
    resize((100 * (event.clientX - box.left)) / box.width);
  });
  bar.addEventListener("pointerup", keep);
  bar.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    event.stopPropagation();
    resize(share + (event.key === "ArrowLeft" ? -2 : 2));
    keep();
  });
  let table: View | null = null;
  let pattern: RegExp | null = null;
  let isClosed = false;
  void tableView(context).then((loaded) => {
    if (isClosed) return loaded.close?.();
    table = loaded;
    loaded.onHover = (name) => flame.emphasise?.(name);
    if (pattern) loaded.search?.(pattern);
    place.replaceChildren(loaded.element);
  }).catch((error: unknown) => place.replaceChildren(h("p", { class: "error" }, String(error))));
  return {
    ...flame,
    element,
    search(next) {
      pattern = next;
      table?.search?.(next);
      return flame.search?.(next) ?? "";
    },
    setRelative(relative) {
      flame.setRelative?.(relative);
      table?.setRelative?.(relative);
    },
    close() {
      isClosed = true;
      flame.close?.();
      table?.close?.();
    },
  };
}
