// A function in the middle: its callers above, what it calls below.

import { type Sandwich, type Table, type TreeNode, get } from "../../api";
import { h } from "../../dom";
import { change, percent, quantity } from "../../format";
import { fromNodes, layout } from "../../msf";
import { PathIds } from "../../pathid";
import { Flame } from "../../widgets/flame";
import type { Context, View } from "./view";

export async function sandwichView(context: Context): Promise<View> {
  const name = context.state().get("function") || (await largest(context));
  if (!name) return { element: h("p", { class: "dim" }, "the profile is empty") };
  context.keep({ function: name });
  const both = await get<Sandwich>(context.path("sandwich", { function: name }));
  const isDiff = context.state().base() !== undefined;
  const graph = (node: TreeNode, isFlame: boolean): Flame => {
    const tree = layout(fromNodes(node, isDiff));
    const [ids, key] = [new PathIds(tree), isFlame ? "callers" : "callees"];
    return new Flame(tree, {
      unit: both.unit,
      zoom: Math.max(0, ids.find(context.state().get(key))),
      relative: context.state().is("relative"),
      isFlame,
      label: key,
      onZoom: (at) => context.keep({ [key]: ids.of(at) }),
      onMenu: (at, x, y) => context.menu(tree.strings[tree.name[at]!]!, x, y),
      onHover: (hovered) => flames.forEach((flame) => flame.emphasise(hovered)),
    });
  };
  const flames = [graph(both.callers, true), graph(both.callees, false)] as const;
  let active: Flame = flames[1];
  flames.forEach((flame) => flame.element.addEventListener("focusin", () => { active = flame; }));
  const total = context.meta.totals[context.state().get("sample") || (context.meta.default_sample_type ?? "")] ?? 0;
  const value = isDiff
    ? change(both.callees.value - both.callees.base, both.unit)
    : `${quantity(both.callees.value, both.unit)} (${percent(both.callees.value, total)})`;
  return {
    element: h("div", { "data-testid": "sandwich" },
      h("p", { class: "mono" }, h("b", {}, name), `  ${value}, ${quantity(both.callees.self, both.unit)} itself`),
      h("h2", {}, "callers"), flames[0].element,
      h("h2", {}, "callees"), flames[1].element),
    search: (pattern) => {
      const [above, below] = flames.map((flame) => flame.search(pattern));
      return pattern ? `callers: ${above}; callees: ${below}` : "";
    },
    setRelative: (relative) => flames.forEach((flame) => flame.setRelative(relative)),
    key: (event) => active.key(event),
    close: () => flames.forEach((flame) => flame.close()),
  };
}

/** Without a function in the address the largest one is a good start. */
async function largest(context: Context): Promise<string> {
  const table = await get<Table>(context.path("table", { limit: "1" }));
  return table.rows[0]?.function ?? "";
}
