// The collections of a trace, a row each.

import { h } from "../../dom";
import { bytes } from "../../format";
import type { Collection, Collections } from "../../traceapi";
import { type Column, Rows } from "../../widgets/rows";
import { type Context, type View, nanos } from "./view";

/** Around a collection that is shown in the timeline. */
const MARGIN = 0.5;

const size = (value: number | null): string => (value === null ? "-" : bytes(value));
const time = (value: number | null): string => (value === null ? "-" : nanos(value));
const workers = (row: Collection): number => row.dedicated_nanos + row.fractional_nanos + row.idle_nanos;

const COLUMNS: readonly Column<Collection>[] = [
  { key: "start", title: "start", isNumber: true, isLink: true, text: (row) => nanos(row.start_nanos), sort: (row) => -row.start_nanos },
  { key: "stop1", title: "stop before", isNumber: true, text: (row) => time(row.sweep_termination_nanos), sort: (row) => row.sweep_termination_nanos ?? -1 },
  { key: "mark", title: "marking", isNumber: true, text: (row) => nanos(row.mark_nanos) + (row.is_cut_at_start || row.is_cut_at_end ? "+" : ""), sort: (row) => row.mark_nanos },
  { key: "stop2", title: "stop after", isNumber: true, text: (row) => time(row.mark_termination_nanos), sort: (row) => row.mark_termination_nanos ?? -1 },
  { key: "assists", title: "assists", isNumber: true, text: (row) => row.assists.count.toLocaleString("en"), sort: (row) => row.assists.count },
  { key: "assist", title: "assist time", isNumber: true, text: (row) => nanos(row.assists.total_nanos), sort: (row) => row.assists.total_nanos },
  { key: "workers", title: "workers' time", isNumber: true, text: (row) => nanos(workers(row)), sort: workers },
  { key: "heap", title: "heap before", isNumber: true, text: (row) => size(row.heap_before_bytes), sort: (row) => row.heap_before_bytes ?? -1 },
  { key: "peak", title: "at the end", isNumber: true, text: (row) => size(row.heap_peak_bytes), sort: (row) => row.heap_peak_bytes ?? -1 },
  { key: "live", title: "live", isNumber: true, text: (row) => size(row.heap_live_bytes), sort: (row) => row.heap_live_bytes ?? -1 },
  { key: "goal", title: "goal", isNumber: true, text: (row) => size(row.goal_bytes), sort: (row) => row.goal_bytes ?? -1 },
];

export async function collectionsView(context: Context): Promise<View> {
  const { collections, other_stops } = await context.ask<Collections>("gc");
  const rows = new Rows<Collection>(COLUMNS, {
    label: "collections",
    sort: context.parameter("sort") || "start",
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => {
      const margin = row.mark_nanos * MARGIN + 1;
      context.show({ view: "timeline", from: String(Math.max(0, Math.round(row.start_nanos - margin))),
        to: String(Math.round(row.start_nanos + row.mark_nanos + margin)) });
    },
  });
  rows.show(collections);
  const others = other_stops.count ? `${other_stops.count.toLocaleString("en")} more stops of the world, ${nanos(other_stops.total_nanos)} together` : "";
  return { element: h("div", {}, h("p", { class: "dim" }, others), rows.element) };
}
