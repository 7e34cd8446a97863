// What holds the heap: variables, goroutines and the like, by what they retain.

import { h } from "../../dom";
import { bytes, percent } from "../../format";
import type { HeapNode, HeapSet, Listed } from "../../heapapi";
import { type Column, Rows } from "../../widgets/rows";
import { searchPattern } from "../profile/state";
import { count, filterBox } from "./parts";
import type { Context, View } from "./view";

const LIMIT = 20_000;

export async function rootsView(context: Context): Promise<View> {
  const answer = await context.ask<Listed<HeapNode> & { readonly shared: HeapSet }>("roots", { limit: String(LIMIT) });
  const live = context.summary.live_bytes;
  const number = (key: string, title: string, text: (row: HeapNode) => string, sort: (row: HeapNode) => number): Column<HeapNode> =>
    ({ key, title, isNumber: true, text, sort });
  const rows = new Rows<HeapNode>([
    number("retained", "retained", (row) => bytes(row.retained_bytes), (row) => row.retained_bytes),
    number("share", "%", (row) => percent(row.retained_bytes, live), (row) => row.retained_bytes),
    number("objects", "objects", (row) => row.retained_objects.toLocaleString("en"), (row) => row.retained_objects),
    { key: "kind", title: "kind", isNumber: false, text: (row) => row.kind },
    { key: "root", title: "root", isNumber: false, isLink: true, text: (row) => row.name },
  ], {
    label: "roots",
    sort: context.state().get("sort") || "retained",
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => context.show({ view: "dominators", node: row.node }),
  });
  const result = h("span", { class: "dim", "data-testid": "found", "aria-live": "polite" });
  const show = (): void => {
    const { pattern, error } = searchPattern(context.state().get("q"));
    const shown = pattern ? answer.rows.filter((row) => pattern.test(row.name) || pattern.test(row.kind)) : answer.rows;
    const shared = answer.shared.objects && !pattern ? `; ${bytes(answer.shared.bytes)} are held by several roots at once` : "";
    result.textContent = error || count(shown.length, "root") + shared;
    rows.show(shown);
  };
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  show();
  return {
    element: h("div", {}, h("div", { class: "tools" }, filterBox(context, "filter roots", show), result), rows.element),
    close: () => observer.disconnect(),
  };
}
