// How long objects live, by type: what dies young, what survives collections.

import { h } from "../../dom";
import { bytes, percent } from "../../format";
import type { Ends, FunctionLifetimes, Lifetimes, ObjectCount, TypeLifetimes } from "../../traceapi";
import { type Column, Rows } from "../../widgets/rows";
import { type Context, type View, nanos } from "./view";

/** Pixels of the longest bar. */
const BAR = 220;

const size = <T>(key: string, title: string, of: (row: T) => ObjectCount): Column<T> =>
  ({ key, title, isNumber: true, text: (row) => bytes(of(row).bytes), sort: (row) => of(row).bytes });
const objects = <T>(key: string, title: string, of: (row: T) => ObjectCount): Column<T> =>
  ({ key, title, isNumber: true, text: (row) => of(row).objects.toLocaleString("en"), sort: (row) => of(row).objects });
const share = (value: number | null): string => (value === null ? "-" : `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`);

export async function lifetimesView(context: Context): Promise<View> {
  const all = await context.ask<Lifetimes>("lifetimes");
  const detail = h("div", { "data-testid": "lifetime" });
  const shorter = nanos(all.within_nanos);
  const types = new Rows<TypeLifetimes>([
    { key: "type", title: "type", isNumber: false, isLink: true, text: (row) => row.type },
    size("bytes", "allocated", (row) => row.allocated), objects("objects", "objects", (row) => row.allocated),
    size("young", "died at the first GC", (row) => row.young), size("within", `within ${shorter}`, (row) => row.within),
    { key: "survival", title: `survive ${all.gcs} GCs`, isNumber: true, text: (row) => share(row.survival), sort: (row) => row.survival ?? -1 },
    size("living", "living at the end", (row) => row.living), objects("existed", "there before", (row) => row.existed),
  ], {
    label: "lifetimes",
    sort: context.parameter("sort") || "bytes",
    onSort: (sort) => context.keep({ sort }),
    onPick: (row) => {
      context.keep({ type: row.type });
      detail.replaceChildren(...histograms(row));
    },
  });
  types.element.style.height = "44vh";
  types.show(all.types);
  const picked = all.types.find((row) => row.type === context.parameter("type")) ?? all.types[0];
  if (picked) detail.replaceChildren(...histograms(picked));
  const functions = new Rows<FunctionLifetimes>([
    { key: "function", title: "goroutines that start with", isNumber: false, text: (row) => row.function || "(unknown)" },
    size("bytes", "allocated", (row) => row.allocated), objects("objects", "objects", (row) => row.allocated),
    size("young", "died at the first GC", (row) => row.young), size("freed", "freed", (row) => row.freed),
  ], { label: "allocators", sort: "bytes", onSort: () => undefined, onPick: () => undefined });
  functions.element.style.height = "30vh";
  functions.show(all.functions);
  const total = (name: string, of: ObjectCount): string => `${name} ${of.objects.toLocaleString("en")} objects (${bytes(of.bytes)})`;
  return {
    element: h("div", {},
      h("p", { class: "hint", "data-testid": "totals" }, [total("allocated", all.allocated), total("freed", all.freed), total("there before", all.existed),
        total("living at the end", all.living), `${all.collections} collections`].join(" · ")),
      types.element, detail, h("h2", {}, "Who allocates"), functions.element),
  };
}

function histograms(row: TypeLifetimes): HTMLElement[] {
  const young = percent(row.young.bytes, row.allocated.bytes);
  return [
    h("h2", {}, row.type),
    h("p", { class: "dim" }, `${young} of its bytes were garbage at the first collection after their allocation; sizes are those of slots`),
    h("div", { class: "two" },
      h("div", {}, h("p", {}, "freed after"), bars(row.by_log2_nanos, (index) => `< ${nanos(2 ** (index + 1))}`)),
      h("div", {}, h("p", {}, "survived collections"), bars(row.by_collections, String))),
  ];
}

function bars(ends: Ends, name: (index: number) => string): HTMLElement {
  const largest = Math.max(1, ...ends.freed);
  const first = Math.max(0, ends.freed.findIndex((value, index) => value + (ends.living[index] ?? 0) > 0));
  const rows = ends.freed.slice(first).map((freed, at) => {
    const index = first + at;
    return h("tr", {}, h("td", { class: "num" }, name(index)), h("td", { class: "num" }, freed.toLocaleString("en")),
      h("td", { class: "num dim" }, (ends.living[index] ?? 0).toLocaleString("en")), h("td", { class: "num" }, share(ends.survival[index] ?? null)),
      h("td", {}, h("div", { class: "rssbar", style: `width: ${(freed / largest) * BAR}px` })));
  });
  return h("table", {}, h("thead", {}, h("tr", {}, h("th"), h("th", { class: "num" }, "freed"), h("th", { class: "num" }, "still living"),
    h("th", { class: "num" }, "survive"), h("th"))), h("tbody", {}, ...rows));
}
