// The functions as a table: values, sorted, filtered by the search.

import { type Table, type TableRow, get } from "../../api";
import { h } from "../../dom";
import { change, percent, quantity } from "../../format";
import { type Column, Rows } from "../../widgets/rows";
import type { Context, View } from "./view";

const LIMIT = 20_000;

export interface TableView extends View {
  /** Tells who wants to know about the function under the mouse. */
  onHover: (name: string | null) => void;
}

export async function tableView(context: Context): Promise<TableView> {
  const table = await get<Table>(context.path("table", { limit: String(LIMIT) }));
  let isRelative = context.state().is("relative");
  const rows = new Rows<TableRow>(columns(table, () => isRelative), {
    label: "functions",
    sort: context.state().get("sort") || (table.is_diff ? "change" : "flat"),
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => context.show({ view: "sandwich", function: row.function }),
    onMenu: (row, x, y) => context.menu(row.function, x, y),
    onHover: (row) => view.onHover(row?.function ?? null),
  });
  const notice = table.rows.length >= LIMIT && h("p", { class: "dim" }, `the ${LIMIT.toLocaleString("en")} largest functions; focus to see others`);
  let shown: readonly TableRow[] = table.rows;
  rows.show(shown);
  // Its height is known once it is on the page.
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  const view: TableView = {
    element: h("div", { class: "tableview" }, notice, rows.element),
    onHover: () => undefined,
    search(pattern) {
      shown = pattern ? table.rows.filter((row) => pattern.test(row.function) || pattern.test(row.file)) : table.rows;
      rows.show(shown);
      return pattern ? `${shown.length.toLocaleString("en")} functions` : "";
    },
    setRelative(relative) {
      isRelative = relative;
      rows.show(shown);
    },
    close: () => observer.disconnect(),
  };
  return view;
}

function columns(table: Table, isRelative: () => boolean): readonly Column<TableRow>[] {
  const { unit, total } = table;
  const number = (key: string, title: string, text: (row: TableRow) => string, sort: (row: TableRow) => number): Column<TableRow> =>
    ({ key, title, isNumber: true, text, sort });
  const names: readonly Column<TableRow>[] = [
    { key: "function", title: "function", isNumber: false, isLink: true, text: (row) => row.function },
    { key: "file", title: "file", isNumber: false, text: (row) => row.file },
  ];
  if (!table.is_diff) {
    return [
      number("flat", "flat", (row) => quantity(row.flat, unit), (row) => row.flat),
      number("flat%", "flat %", (row) => percent(row.flat, total), (row) => row.flat),
      number("cum", "cum", (row) => quantity(row.cum, unit), (row) => row.cum),
      number("cum%", "cum %", (row) => percent(row.cum, total), (row) => row.cum),
      ...names,
    ];
  }
  const delta = (now: number, before: number): string =>
    isRelative() ? percent(now - before, before) : change(now - before, unit);
  const grown = (row: TableRow): number => row.flat - row.flat_base;
  const look = (row: TableRow): string => (grown(row) > 0 ? "grow" : grown(row) < 0 ? "shrink" : "");
  return [
    number("before", "before", (row) => quantity(row.flat_base, unit), (row) => row.flat_base),
    number("now", "now", (row) => quantity(row.flat, unit), (row) => row.flat),
    { ...number("change", "change", (row) => delta(row.flat, row.flat_base), (row) => Math.abs(grown(row))), look },
    number("cum change", "cum change", (row) => delta(row.cum, row.cum_base), (row) => Math.abs(row.cum - row.cum_base)),
    ...names,
  ];
}
