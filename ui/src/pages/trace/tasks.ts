// The program's own tasks and regions, by type.

import { h } from "../../dom";
import type { Percentiles, RegionType, TaskType, Tasks } from "../../traceapi";
import { type Column, Rows } from "../../widgets/rows";
import { type Context, type View, nanos } from "./view";

interface Timed { readonly count: number; readonly incomplete: number; readonly nanos: Percentiles }

const number = <T>(key: string, title: string, of: (row: T) => number, text: (value: number) => string): Column<T> =>
  ({ key, title, isNumber: true, text: (row) => text(of(row)), sort: of });

const count = (value: number): string => value.toLocaleString("en");

function times<T extends Timed>(): readonly Column<T>[] {
  return [
    number("count", "count", (row) => row.count, count),
    number("incomplete", "incomplete", (row) => row.incomplete, count),
    number("total", "total", (row) => row.nanos.total, nanos),
    number("p50", "p50", (row) => row.nanos.p50, nanos),
    number("p90", "p90", (row) => row.nanos.p90, nanos),
    number("p99", "p99", (row) => row.nanos.p99, nanos),
    number("max", "max", (row) => row.nanos.max, nanos),
  ];
}

const TASKS: readonly Column<TaskType>[] = [
  { key: "name", title: "task", isNumber: false, text: (row) => row.name || "(no name)" },
  ...times<TaskType>(),
  number("marking", "while GC marks", (row) => row.marking_nanos, nanos),
  number("regions", "regions", (row) => row.regions, count),
  number("logs", "messages", (row) => row.logs, count),
];

const REGIONS: readonly Column<RegionType>[] = [
  { key: "name", title: "region", isNumber: false, text: (row) => row.name || "(no name)" },
  { key: "function", title: "in", isNumber: false, text: (row) => row.function || "(unknown)" },
  ...times<RegionType>(),
];

export async function tasksView(context: Context): Promise<View> {
  const { types, regions, logs } = await context.ask<Tasks>("tasks");
  const table = <T>(label: string, columns: readonly Column<T>[], rows: readonly T[]): HTMLElement => {
    const shown = new Rows<T>(columns, { label, sort: "total", onSort: () => undefined, onPick: () => undefined });
    shown.show(rows);
    shown.element.style.height = "38vh";
    return shown.element;
  };
  if (types.length === 0 && regions.length === 0) {
    return { element: h("p", { class: "dim" }, "the program has no tasks and regions of runtime/trace in this trace") };
  }
  return { element: h("div", {}, h("h2", {}, "Tasks"), table("tasks", TASKS, types), h("h2", {}, "Regions"), table("regions", REGIONS, regions),
    h("p", { class: "dim" }, `${count(logs)} messages`)) };
}
