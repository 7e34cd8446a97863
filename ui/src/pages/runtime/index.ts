// The runtime of one target: where its resident bytes are, what the collector and the scheduler do.

import { type Target, get } from "../../api";
import { h } from "../../dom";
import { bytes, clock, percent } from "../../format";
import { listen, throttled } from "../../live";
import { type Page, navigate } from "../../router";
import type { RssAccount, RssSeries, RuntimeSeries } from "../../runtimeapi";
import { Chart, type Grid, type Line } from "../../widgets/chart";

/** Parts that are less of the whole at all times are drawn as one. */
const SHARE_MIN = 0.01;
const REFRESH_MS = 2000;
const BAR_PIXELS = 160;
/** Causes that are named. */
const CAUSES = 3;

export async function runtime(id: number, query: URLSearchParams): Promise<Page> {
  const about = await get<Target>(`/targets/${id}`);
  const charts = makeCharts();
  const account = h("div", { "data-testid": "account" });
  const chosen = query.get("rss");
  const refresh = async (): Promise<void> => {
    const [rss, figures] = await Promise.all([get<RssSeries>(`/targets/${id}/rss`), get<RuntimeSeries>(`/targets/${id}/runtime`)]);
    charts.show(rss, figures);
    const shown = chosen ?? rss.captures.at(-1);
    if (shown === undefined) account.replaceChildren(h("p", { class: "dim" }, "resident memory has not been read yet"));
    else account.replaceChildren(...accountOf(await get<RssAccount>(`/captures/${shown}/rss`)));
  };
  await refresh();
  const later = throttled(REFRESH_MS, () => void refresh());
  const stop = listen((notice) => {
    if (notice.target === id && notice.kind === "capture") later();
  });
  const element = h("div", { "data-testid": "runtime-page" },
    h("div", { class: "tools" }, h("h1", {}, about.name), h("a", { href: `/target/${id}` }, "target"),
      h("span", { class: "dim" }, "runtime and resident memory")),
    h("h2", {}, "Where every resident byte is"), charts.rss.element, account,
    ...charts.others.flatMap(({ title, chart }) => [h("h2", {}, title), chart.element]));
  return {
    element,
    close: () => {
      stop();
      charts.close();
    },
  };
}

const count = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : 0 });
const share = (value: number): string => `${value.toFixed(value === 0 ? 0 : value < 0.1 ? 3 : value < 10 ? 1 : 0)} %`;

function seconds(value: number): string {
  if (value < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  return value < 1 ? `${(value * 1e3).toFixed(value < 0.01 ? 2 : 1)} ms` : `${value.toFixed(2)} s`;
}

interface Figure { readonly title: string; readonly chart: Chart; readonly lines: (figures: RuntimeSeries) => readonly Line[] }

function makeCharts(): {
  readonly rss: Chart;
  readonly others: readonly Figure[];
  show(rss: RssSeries, figures: RuntimeSeries): void;
  close(): void;
} {
  const rss = new Chart("resident memory by use", 300, bytes, "binary", navigate);
  const figure = (title: string, format: (value: number) => string, grid: Grid, lines: Figure["lines"]): Figure =>
    ({ title, chart: new Chart(title, 130, format, grid, navigate), lines });
  const gauge = (name: string, label: string, hue: number) => (figures: RuntimeSeries): Line =>
    ({ name, label, hue, values: figures.gauges[name] ?? [] });
  const rate = (name: string, label: string, hue: number, times = 1) => (figures: RuntimeSeries): Line =>
    ({ name, label, hue, values: (figures.rates[name] ?? []).map((value) => (value === null ? null : value * times)) });
  const quantiles = (name: string, label: string, hue: number) => (figures: RuntimeSeries): readonly Line[] => {
    const found = figures.quantiles[name];
    return [
      { name: `${name} p50`, label: `${label} p50`, hue, values: found?.p50 ?? [] },
      { name: `${name} p99`, label: `${label} p99`, hue: (hue + 40) % 360, values: found?.p99 ?? [] },
      { name: `${name} max`, label: `${label} max`, hue: (hue + 80) % 360, values: found?.max ?? [] },
    ];
  };
  const all = (...parts: readonly ((figures: RuntimeSeries) => Line)[]) => (figures: RuntimeSeries): readonly Line[] =>
    parts.map((part) => part(figures));
  const others = [
    figure("Heap and its goal", bytes, "binary", all(gauge("/gc/heap/live:bytes", "live after GC", 0),
      gauge("/memory/classes/heap/objects:bytes", "objects", 210), gauge("/gc/heap/goal:bytes", "goal", 45))),
    figure("Allocation a second", bytes, "binary", all(rate("/gc/heap/allocs:bytes", "allocated", 30), rate("/gc/heap/frees:bytes", "freed", 190))),
    figure("CPU of the collector", share, "any", all(rate("gc-share", "of all CPU time", 10, 100), rate("assist-share", "assists", 50, 100))),
    figure("Stops of the world for GC", seconds, "any", quantiles("/sched/pauses/total/gc:seconds", "pause", 210)),
    figure("Goroutines wait to run for", seconds, "any", quantiles("/sched/latencies:seconds", "latency", 140)),
    figure("Goroutines", count, "whole", all(gauge("/sched/goroutines:goroutines", "all", 210),
      gauge("/sched/goroutines/running:goroutines", "running", 140), gauge("/sched/goroutines/runnable:goroutines", "runnable", 45),
      gauge("/sched/goroutines/not-in-go:goroutines", "in system calls and C", 275))),
    figure("Blocked on mutexes, of the time", share, "any", all(rate("/sync/mutex/wait/total:seconds", "goroutines blocked", 330, 100))),
  ];
  return {
    rss,
    others,
    show: (account, figures) => {
      rss.show({ times: account.times, lines: parts(account), marks: [], bands: [], isStacked: true, level: null });
      for (const { chart, lines } of others) chart.show({ times: figures.times, lines: lines(figures), marks: [], bands: [], level: null });
    },
    close: () => {
      rss.close();
      for (const { chart } of others) chart.close();
    },
  };
}

/** The kinds that matter, the rest as one; what the heap uses at the bottom. */
function parts(account: RssSeries): readonly Line[] {
  const columns = account.kinds.map((kind) => ({ kind, values: account.values[kind.kind] ?? [] }));
  const whole = account.times.map((_, index) => columns.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
  const matters = ({ values }: { readonly values: readonly (number | null)[] }): boolean =>
    values.some((value, index) => (value ?? 0) > SHARE_MIN * whole[index]!);
  const large = columns.filter(matters);
  const small = columns.filter((column) => !matters(column));
  const lines = large.map(({ kind, values }, index) =>
    ({ name: kind.kind, label: `${kind.group}: ${kind.label}`, hue: (205 + index * 47) % 360, values }));
  const rest = account.times.map((_, index) => small.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
  return rest.some((value) => value > 0) ? [...lines, { name: "rest", label: "the rest", hue: 0, values: rest }] : lines;
}

function accountOf(account: RssAccount): HTMLElement[] {
  const parts = account.kinds.filter(({ bytes: size }) => size > 0);
  const largest = Math.max(1, ...parts.map((part) => part.bytes));
  const row = (part: RssAccount["kinds"][number]): HTMLElement => h("tr", {},
    h("td", { class: "dim" }, part.group), h("td", {}, part.label),
    h("td", { class: "num" }, bytes(part.bytes)), h("td", { class: "num" }, percent(part.bytes, account.rss_bytes)),
    h("td", { class: "num" }, part.huge_bytes ? bytes(part.huge_bytes) : ""),
    h("td", {}, h("div", { class: "rssbar", style: `width: ${Math.max(1, (part.bytes / largest) * BAR_PIXELS)}px` })));
  return [
    h("p", {}, h("b", {}, `${bytes(account.rss_bytes)} resident`), h("span", { class: "dim" }, ` at ${clock(account.time_ms)}, mainly:`)),
    h("ul", { "data-testid": "causes" }, ...account.causes.slice(0, CAUSES).map((cause) => h("li", {},
      h("b", {}, `${bytes(cause.bytes)} ${cause.meaning}`), cause.detail ? `, ${cause.detail}` : "",
      cause.next ? h("span", { class: "dim" }, ` · ${cause.next}`) : null))),
    ...account.advice.map((advice) => h("section", { class: "card", "data-testid": "advice" },
      h("p", {}, h("b", { class: "mono" }, advice.setting), ` saves ${bytes(advice.saves_bytes.low)} to ${bytes(advice.saves_bytes.high)}`),
      h("p", {}, advice.reason), h("p", { class: "dim" }, advice.risk))),
    h("table", { "data-testid": "parts" }, h("thead", {}, h("tr", {}, h("th", {}, "part"), h("th", {}, "what"), h("th", { class: "num" }, "resident"),
      h("th", { class: "num" }, "share"), h("th", { class: "num" }, "in huge pages"), h("th"))), h("tbody", {}, ...parts.map(row))),
    ...account.warnings.map((text) => h("p", { class: "error" }, text)),
  ];
}
