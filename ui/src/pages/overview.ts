// Every target and its verdict.

import { type Target, get } from "../api";
import { h } from "../dom";
import { bytes, day, duration } from "../format";
import { listen, throttled } from "../live";
import type { Page } from "../router";
import { verdict } from "./parts";

export async function overview(): Promise<Page> {
  const body = h("tbody");
  const empty = h("p", { class: "dim" }, "No target has been seen yet.");
  const table = h(
    "table",
    { "data-testid": "targets" },
    h(
      "thead",
      {},
      h("tr", {}, h("th", {}, "target"), h("th", {}, "verdict"), h("th", { class: "num" }, "RSS"),
        h("th", { class: "num" }, "live heap"), h("th", { class: "num" }, "goroutines"),
        h("th", { class: "num" }, "limit in"), h("th", {}, "what")),
    ),
    body,
  );
  const refresh = async (): Promise<void> => {
    const targets = await get<readonly Target[]>("/targets");
    body.replaceChildren(...targets.map(row));
    table.hidden = targets.length === 0;
    empty.hidden = targets.length > 0;
  };
  await refresh();
  const later = throttled(1000, () => void refresh());
  const close = listen(later);
  return { element: h("div", {}, h("h1", {}, "Targets"), empty, table), close };
}

function row(target: Target): HTMLElement {
  const figure = (name: string, format: (value: number) => string): string => {
    const value = target.latest[name];
    return value === null || value === undefined ? "-" : format(value);
  };
  const limit = target.time_to_limit_seconds;
  const ended = target.alive ? null : h("div", { class: "dim" }, `ended ${day(target.last_seen_ms)}`);
  return h(
    "tr",
    {},
    h("td", {}, h("a", { href: `/target/${target.id}` }, target.name),
      h("span", { class: "dim" }, target.pid === null ? "" : ` pid ${target.pid}`), ended),
    h("td", {}, verdict(target.verdict, target.leak, target.confidence)),
    h("td", { class: "num" }, figure("rss_bytes", bytes)),
    h("td", { class: "num" }, figure("heap_live_bytes", bytes)),
    h("td", { class: "num" }, figure("goroutines", String)),
    h("td", { class: "num" }, limit ? duration(limit.estimate) : "-"),
    h("td", {}, target.summary ?? ""),
  );
}
