// What changed since an earlier graph: types, ways to roots, roots, single objects.

import { h } from "../../dom";
import { bytes, change } from "../../format";
import type { HeapDiff, PathChange, RootChange, TypeChange } from "../../heapapi";
import { type Column, Rows } from "../../widgets/rows";
import { count, nodeLine, steps } from "./parts";
import type { Context, View } from "./view";

const PATHS = 20;
const ROOTS = 50;

export async function changesView(context: Context): Promise<View> {
  const base = context.state().base();
  if (!base) {
    const hint = context.others.length
      ? "Choose a graph to compare with above."
      : "There is no other graph of this target to compare with.";
    return { element: h("p", { class: "dim" }, hint) };
  }
  const diff = await context.ask<HeapDiff>("diff", { base, limit: "5000" });
  const rows = new Rows<TypeChange>(columns(), {
    label: "changes",
    sort: context.state().get("sort") || "bytes",
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => context.show(row.id === null ? {} : { view: "why", type: String(row.id) }),
  });
  rows.show(diff.types);
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  const { before, after } = diff.live;
  const grownPaths = diff.paths.filter((path) => path.after.bytes > path.before.bytes);
  return {
    element: h("div", { "data-testid": "diff" },
      h("p", {}, `${bytes(before.bytes)} → ${bytes(after.bytes)} live (`, signed(after.bytes - before.bytes), `), ` +
        `${before.objects.toLocaleString("en")} → ${count(after.objects, "object")}`,
        h("span", { class: "dim" }, diff.matched_by_address ? "; new and freed objects are told by address" : "")),
      h("h2", {}, "Ways that grew"),
      ...(grownPaths.length ? grownPaths.slice(0, PATHS).map((path) => pathChange(context, path)) : [h("p", { class: "dim" }, "none")]),
      h("h2", {}, `Types (${diff.types_total.toLocaleString("en")} changed)`), rows.element,
      h("h2", {}, "Roots"), rootTable(diff.roots.slice(0, ROOTS)),
      diff.grown.length ? h("h2", {}, "Objects that retain more") : null,
      ...diff.grown.map((node) => h("div", {}, signed(node.retained_bytes - node.retained_bytes_before), " ", nodeLine(context, node)))),
    close: () => observer.disconnect(),
  };
}

function signed(value: number, unit = "bytes"): HTMLElement {
  return h("span", { class: value > 0 ? "grow" : value < 0 ? "shrink" : "dim" }, change(value, unit));
}

function pathChange(context: Context, path: PathChange): HTMLElement {
  const objects = path.after.objects - path.before.objects;
  return h("section", { class: "card", "data-testid": "grownpath" },
    h("p", {}, h("b", { class: "mono" }, path.type), " ", signed(path.after.bytes - path.before.bytes), " ",
      h("span", { class: "dim" }, `${change(objects, "count")} objects, ${path.after.objects.toLocaleString("en")} now`)),
    path.steps.length ? steps(context, path.steps) : h("p", { class: "mono" }, path.path.join(" → ")));
}

function columns(): readonly Column<TypeChange>[] {
  const delta = (row: TypeChange): number => row.after.bytes - row.before.bytes;
  const objects = (row: TypeChange): number => row.after.objects - row.before.objects;
  const retained = (row: TypeChange): number => row.retained_bytes - row.retained_bytes_before;
  const look = (of: (row: TypeChange) => number) => (row: TypeChange): string => (of(row) > 0 ? "grow" : of(row) < 0 ? "shrink" : "");
  const number = (key: string, title: string, text: (row: TypeChange) => string, sort: (row: TypeChange) => number): Column<TypeChange> =>
    ({ key, title, isNumber: true, text, sort });
  const set = (value: TypeChange["new"]): string => (value ? `${value.objects.toLocaleString("en")} (${bytes(value.bytes)})` : "-");
  return [
    number("before", "before", (row) => bytes(row.before.bytes), (row) => row.before.bytes),
    number("after", "now", (row) => bytes(row.after.bytes), (row) => row.after.bytes),
    { ...number("bytes", "change", (row) => change(delta(row), "bytes"), delta), look: look(delta) },
    { ...number("objects", "objects", (row) => change(objects(row), "count"), objects), look: look(objects) },
    { ...number("retained", "retained", (row) => change(retained(row), "bytes"), retained), look: look(retained) },
    number("new", "new", (row) => set(row.new), (row) => row.new?.bytes ?? 0),
    number("freed", "freed", (row) => set(row.freed), (row) => row.freed?.bytes ?? 0),
    { key: "type", title: "type", isNumber: false, isLink: true, text: (row) => row.type },
  ];
}

function rootTable(roots: readonly RootChange[]): HTMLElement {
  if (!roots.length) return h("p", { class: "dim" }, "none changed");
  return h("table", { "data-testid": "rootchanges" },
    h("thead", {}, h("tr", {}, h("th", { class: "num" }, "retained"), h("th", { class: "num" }, "change"), h("th", { class: "num" }, "how many"), h("th", {}, "kind"), h("th", {}, "root"))),
    h("tbody", {}, ...roots.map((root) => h("tr", {},
      h("td", { class: "num" }, bytes(root.retained_bytes)),
      h("td", { class: "num" }, signed(root.retained_bytes - root.retained_bytes_before)),
      h("td", { class: "num" }, root.holders === root.holders_before ? String(root.holders) : `${root.holders_before} → ${root.holders}`),
      h("td", {}, root.kind), h("td", { class: "mono" }, root.root)))));
}
