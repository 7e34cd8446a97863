// Two captures next to each other: same sample type, filters, search and zoom.

import type { Capture } from "../../api";
import { h } from "../../dom";
import { clock } from "../../format";
import { PathIds } from "../../pathid";
import { Flame } from "../../widgets/flame";
import { fetchTree } from "./tree";
import type { Context, View } from "./view";

/** What belongs to one capture only. */
const WITHOUT = ["base"] as const;

export async function sideView(context: Context): Promise<View> {
  const { others, meta } = context;
  const asked = Number(context.state().get("with"));
  const partner = others.find((other) => other.id === asked) ?? others.find((other) => other.id !== meta.id);
  if (!partner) {
    return { element: h("p", { class: "dim", "data-testid": "side" }, "there is no other capture of this kind to show beside") };
  }
  context.keep({ with: String(partner.id) });
  // Pages below what was cut are those of one capture.
  const state = context.state().with({ open: "" });
  const captures = [meta.id, partner.id] as const;
  const trees = await Promise.all(captures.map((id) => fetchTree(id, state, WITHOUT)));
  const ids = trees.map((tree) => new PathIds(tree));
  const flames: Flame[] = [];
  let isLeading = true;
  const onZoom = (side: number, node: number): void => {
    // The other side follows where it has that frame, and does not lead in turn.
    if (!isLeading) return;
    const id = ids[side]!.of(node);
    context.keep({ z: id });
    isLeading = false;
    flames.forEach((flame, index) => {
      if (index !== side) flame.zoomTo(ids[index]!.find(id));
    });
    isLeading = true;
  };
  trees.forEach((tree, side) => flames.push(new Flame(tree, {
    unit: context.unit(),
    zoom: Math.max(0, ids[side]!.find(state.get("z"))),
    relative: false,
    isFlame: state.get("orient") === "flame",
    label: side === 0 ? "left" : "right",
    onZoom: (node) => onZoom(side, node),
    onMenu: (node, x, y) => context.menu(tree.strings[tree.name[node]!]!, x, y),
    onHover: (name) => flames.forEach((flame) => flame.emphasise(name)),
  })));
  let active = flames[0]!;
  flames.forEach((flame) => flame.element.addEventListener("focusin", () => { active = flame; }));
  return {
    element: h("div", { class: "two side", "data-testid": "side" },
      h("div", {}, h("h2", {}, `#${meta.id}, ${clock(meta.time_ms)}`), flames[0]!.element),
      h("div", {}, h("h2", {}, partnerSelect(context, others, partner)), flames[1]!.element)),
    search: (pattern) => {
      const [left, right] = flames.map((flame) => flame.search(pattern));
      return pattern ? `left: ${left}; right: ${right}` : "";
    },
    key: (event) => active.key(event),
    close: () => flames.forEach((flame) => flame.close()),
  };
}

function partnerSelect(context: Context, others: readonly Capture[], partner: Capture): HTMLElement {
  const select = h("select", { "aria-label": "beside", change: () => context.show({ with: select.value }) });
  for (const other of others) {
    select.append(h("option", { value: other.id, selected: other.id === partner.id }, `#${other.id}, ${clock(other.time_ms)}`));
  }
  return select;
}
