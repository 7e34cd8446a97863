// Objects that a search found, or all of a type: largest first.

import { h } from "../../dom";
import { bytes } from "../../format";
import type { Found, HeapNode } from "../../heapapi";
import { type Column, Rows } from "../../widgets/rows";
import { count, nodeLine } from "./parts";
import { parseSearch } from "./state";
import type { Context, View } from "./view";

const LIMIT = 5_000;

export async function objectsView(context: Context): Promise<View> {
  const state = context.state();
  const { text, bytesMin } = parseSearch(state.get("find"));
  const order = state.get("order") === "bytes" ? "bytes" : "";
  const found = await context.ask<Found>("find", { q: text, type: state.get("type"), bytes_min: bytesMin, sort: order, limit: String(LIMIT) });
  const number = (key: string, title: string, of: (row: HeapNode) => number): Column<HeapNode> =>
    ({ key, title, isNumber: true, text: (row) => bytes(of(row)), sort: of });
  const rows = new Rows<HeapNode>([
    number("retained", "retained", (row) => row.retained_bytes),
    number("bytes", "bytes", (row) => row.bytes ?? 0),
    { key: "objects", title: "retained objects", isNumber: true, text: (row) => row.retained_objects.toLocaleString("en"), sort: (row) => row.retained_objects },
    { key: "address", title: "address", isNumber: false, isLink: true, text: (row) => row.address ?? row.node },
    { key: "type", title: "type", isNumber: false, text: (row) => row.name },
    { key: "reachable", title: "", isNumber: false, text: (row) => (row.reachable ? "" : "unreachable") },
  ], {
    label: "objects",
    sort: order || "retained",
    onSort: (sort) => {
      // What is largest in another sense may not be among the rows that are here.
      if (found.total > LIMIT && (sort === "bytes" || sort === "retained")) context.show({ order: sort === "bytes" ? sort : "" });
    },
    onPick: (row) => context.show({ view: "why", object: row.node }),
  });
  rows.show(found.rows);
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  const type = state.get("type");
  const name = found.rows[0]?.name;
  const cut = found.total > LIMIT ? `, the ${LIMIT.toLocaleString("en")} largest are shown` : "";
  return {
    element: h("div", {},
      h("div", { class: "tools" },
        h("span", { "data-testid": "found" }, `${count(found.total, "object")}, ${bytes(found.bytes)}${cut}`),
        type && name ? h("b", { class: "mono" }, name) : null,
        type ? h("a", { href: context.link({ view: "why", type }) }, "why are they alive?") : null),
      found.roots.length ? h("div", { "data-testid": "foundroots" }, h("p", { class: "dim" }, "roots"),
        ...found.roots.map((root) => h("div", {}, nodeLine(context, root)))) : null,
      found.total || !found.roots.length ? rows.element : null),
    close: () => observer.disconnect(),
  };
}
