// What goroutines spent their time on, by the function they start with.

import { h } from "../../dom";
import type { GoroutineGroup, GoroutineGroups } from "../../traceapi";
import { type Column, Rows } from "../../widgets/rows";
import { type Context, type View, nanos } from "./view";

/** Reasons that are named. */
const REASONS = 3;

const blocked = (row: GoroutineGroup): number => Object.values(row.blocked_nanos).reduce((sum, value) => sum + value, 0);

function reasons(row: GoroutineGroup): string {
  const largest = Object.entries(row.blocked_nanos).toSorted((a, b) => b[1] - a[1]).slice(0, REASONS);
  return largest.map(([reason, time]) => `${reason} ${nanos(time)}`).join(", ");
}

const time = (key: string, title: string, of: (row: GoroutineGroup) => number): Column<GoroutineGroup> =>
  ({ key, title, isNumber: true, text: (row) => nanos(of(row)), sort: of });

const COLUMNS: readonly Column<GoroutineGroup>[] = [
  { key: "function", title: "starts with", isNumber: false, text: (row) => row.function || "(unknown)" },
  { key: "count", title: "goroutines", isNumber: true, text: (row) => row.goroutines.toLocaleString("en"), sort: (row) => row.goroutines },
  time("total", "total", (row) => row.total_nanos),
  time("running", "running", (row) => row.running_nanos),
  time("runnable", "runnable", (row) => row.runnable_nanos),
  time("blocked", "blocked", blocked),
  time("syscall", "in system calls", (row) => row.syscall_nanos + row.syscall_blocked_nanos),
  time("assist", "assists", (row) => row.assist_nanos),
  { key: "reasons", title: "blocked by", isNumber: false, text: reasons },
];

export async function goroutinesView(context: Context): Promise<View> {
  const { functions } = await context.ask<GoroutineGroups>("goroutines", { limit: "5000" });
  const filter = h("input", { type: "search", "aria-label": "filter by function", placeholder: "filter by function", size: 34 });
  filter.value = context.parameter("q");
  const rows = new Rows<GoroutineGroup>(COLUMNS, {
    label: "functions",
    sort: context.parameter("sort") || "running",
    onSort: (sort) => context.keep({ sort }),
    onPick: () => undefined,
  });
  const show = (): void => {
    const wanted = filter.value.toLowerCase();
    rows.show(functions.filter((row) => row.function.toLowerCase().includes(wanted)));
  };
  filter.addEventListener("input", () => {
    context.keep({ q: filter.value });
    show();
  });
  show();
  return { element: h("div", {}, h("div", { class: "tools" }, filter), rows.element) };
}
