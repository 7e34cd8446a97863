// The types as a table: objects, bytes, what they retain.

import { h } from "../../dom";
import { bytes, percent } from "../../format";
import type { HeapType, Listed } from "../../heapapi";
import { type Column, Rows } from "../../widgets/rows";
import { searchPattern } from "../profile/state";
import { count, filterBox } from "./parts";
import type { Context, View } from "./view";

const LIMIT = 20_000;

export async function typesView(context: Context): Promise<View> {
  const fetchRows = (q: string): Promise<Listed<HeapType>> => context.ask<Listed<HeapType>>("types", { limit: String(LIMIT), q });
  const first = await fetchRows("");
  const isWhole = first.rows.length === first.total;
  const rows = new Rows<HeapType>(columns(context), {
    label: "types",
    sort: context.state().get("sort") || "retained",
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => context.show({ view: "objects", type: String(row.id ?? "") }),
  });
  const result = h("span", { class: "dim", "data-testid": "found", "aria-live": "polite" });
  let turn = 0;
  const show = async (): Promise<void> => {
    const text = context.state().get("q");
    const { pattern, error } = searchPattern(text);
    turn += 1;
    const mine = turn;
    let shown = first.rows;
    if (pattern && isWhole) shown = first.rows.filter((row) => pattern.test(row.type));
    else if (pattern) shown = (await fetchRows(text)).rows;
    // A slow answer must not replace a later one.
    if (mine !== turn) return;
    result.textContent = error || count(shown.length, "type") + (shown.length === LIMIT ? ", the largest; filter to see others" : "");
    rows.show(shown);
  };
  const filter = filterBox(context, "filter types", () => void show());
  // Its height is known once it is on the page.
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  await show();
  return {
    element: h("div", {}, h("div", { class: "tools" }, filter, result), rows.element),
    key: (event) => {
      if (event.key !== "f") return false;
      filter.focus();
      return true;
    },
    close: () => observer.disconnect(),
  };
}

function columns(context: Context): readonly Column<HeapType>[] {
  const live = context.summary.live_bytes;
  const number = (key: string, title: string, text: (row: HeapType) => string, sort: (row: HeapType) => number): Column<HeapType> =>
    ({ key, title, isNumber: true, text, sort });
  return [
    number("objects", "objects", (row) => row.objects.toLocaleString("en"), (row) => row.objects),
    number("bytes", "bytes", (row) => bytes(row.bytes), (row) => row.bytes),
    number("retained", "retained", (row) => bytes(row.retained_bytes), (row) => row.retained_bytes),
    number("share", "retained %", (row) => percent(row.retained_bytes, live), (row) => row.retained_bytes),
    { key: "type", title: "type", isNumber: false, isLink: true, text: (row) => row.type },
    number("unreachable", "unreachable", (row) => (row.unreachable_bytes ? bytes(row.unreachable_bytes) : "-"), (row) => row.unreachable_bytes),
  ];
}
