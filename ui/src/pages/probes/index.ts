// What probes in the kernel saw: sampled objects from birth to death, OOM kills and the heap of their moment.

import { type Target, ApiFailure, get, post } from "../../api";
import { h } from "../../dom";
import { bytes, day, duration, percent } from "../../format";
import { listen, throttled } from "../../live";
import { KINDS, type Kind, type Probes, type Run, type Seen } from "../../probesapi";
import type { Page } from "../../router";
import { AtWork } from "./atwork";

interface Kill {
  readonly id: number;
  readonly time_ms: number;
  readonly fields: {
    readonly pid: number; readonly name: string; readonly target: number | null; readonly cause: string; readonly cgroup: string;
    readonly limit_bytes: number | null; readonly resident_bytes: number;
  };
}
interface Tags { readonly total: number; readonly keys: readonly { readonly key: string; readonly values: readonly { readonly value: string | number; readonly total: number }[] }[] }

/** A kill and the heap of its moment are told within this time. */
const TOGETHER_MS = 10_000;

export async function probes(query: URLSearchParams): Promise<Page> {
  const targets = await get<readonly Target[]>("/targets");
  const parts = { kills: h("div"), seen: h("div"), lifetimes: h("div") };
  const atWork = new Panels();
  const refresh = async (): Promise<void> => {
    const [found, kills] = await Promise.all([get<Probes>("/probes"), get<readonly Kill[]>("/events/log?kinds=oom-kill&limit=100")]);
    atWork.keepTo(found.at_work);
    parts.kills.replaceChildren(killed(kills, found.captures));
    parts.seen.replaceChildren(sampled(found.captures.filter(isOfProbe)));
  };
  const first = await get<Probes>("/probes");
  await refresh();
  const chosen = query.get("capture");
  if (chosen !== null) parts.lifetimes.replaceChildren(await lifetimes(Number(chosen)));
  const stop = listen(throttled(500, () => void refresh()));
  const element = h("div", {}, h("h1", {}, "Probes"),
    h("h2", {}, "Memory as it comes and goes"),
    h("p", { class: "dim" }, "Objects that Go's heap sampler takes, from birth to death; blocks that malloc gave and nobody has freed; page faults; mappings."),
    first.may_take ? taker(targets.filter((target) => target.alive && target.pid !== null), refresh)
      : h("p", { class: "dim" }, "This server probes no programs on request (serve --allow-probes); rules may."),
    atWork.element, parts.seen, parts.lifetimes,
    h("h2", {}, "OOM kills"), parts.kills);
  return {
    element,
    close: () => {
      stop();
      atWork.close();
    },
  };
}

/** One panel for each probe that is at work. */
class Panels {
  readonly element = h("div");
  private readonly panels = new Map<string, AtWork>();

  keepTo(runs: readonly Run[]): void {
    const wanted = new Map(runs.map((run) => [`${run.target} ${run.kind} ${run.began_ms}`, run]));
    for (const [key, panel] of this.panels) {
      if (wanted.has(key)) continue;
      panel.close();
      panel.element.remove();
      this.panels.delete(key);
    }
    for (const [key, run] of wanted) {
      if (this.panels.has(key)) continue;
      const panel = new AtWork(run);
      this.panels.set(key, panel);
      this.element.append(panel.element);
    }
  }

  close(): void {
    this.keepTo([]);
  }
}

function taker(targets: readonly Target[], refresh: () => Promise<void>): HTMLElement {
  const select = h("select", { "aria-label": "target" }, ...targets.map(({ id, name, pid }) => h("option", { value: String(id) }, `${name} (${pid})`)));
  const kind = h("select", { "aria-label": "kind" }, ...Object.entries(KINDS).map(([value, { what }]) => h("option", { value }, what)));
  const seconds = h("select", { "aria-label": "seconds" }, ...[5, 10, 30, 60].map((each) => h("option", { value: String(each) }, `${each} s`)));
  const said = h("span", { class: "dim", role: "status" });
  const button = h("button", { type: "button", click: () => void run() }, "look");
  const run = async (): Promise<void> => {
    button.disabled = true;
    said.className = "dim";
    said.textContent = `looking for ${seconds.value} s`;
    try {
      await post(`/targets/${select.value}/probes/${kind.value}?seconds=${seconds.value}`);
      said.textContent = "";
      await refresh();
    } catch (error) {
      said.className = "error";
      said.textContent = error instanceof ApiFailure ? [error.message, error.next].filter(Boolean).join("; ") : String(error);
    }
    button.disabled = false;
  };
  return h("p", { class: "tools", "data-testid": "taker" }, select, " ", kind, " ", seconds, " ", button, " ", said);
}

function table(testid: string, head: readonly string[], rows: readonly HTMLElement[], empty: string): HTMLElement {
  if (rows.length === 0) return h("p", { class: "dim", "data-testid": testid }, empty);
  return h("table", { "data-testid": testid }, h("thead", {}, h("tr", {}, ...head.map((text) => h("th", {}, text)))), h("tbody", {}, ...rows));
}

type OfProbe = Seen & { readonly kind: Kind };

function isOfProbe(capture: Seen): capture is OfProbe {
  return capture.kind !== "heap";
}

function sampled(captures: readonly OfProbe[]): HTMLElement {
  const rows = captures.map((capture) =>
    h("tr", {},
      h("td", {}, day(capture.time_ms)),
      h("td", {}, h("a", { href: `/target/${capture.target}` }, capture.name)),
      h("td", {}, capture.reason),
      h("td", {}, KINDS[capture.kind].what),
      h("td", {}, h("a", { href: `/capture/${capture.id}` }, KINDS[capture.kind].shows)),
      h("td", {}, capture.kind === "alloc" ? h("a", { href: `/capture/${capture.id}?sample=alloc_space` }, "what was allocated") : null),
      h("td", {}, capture.kind === "alloc" ? h("a", { href: `/probes?capture=${capture.id}` }, "how long it lives") : null)));
  return table("sampled", ["time", "target", "why", "what", "", "", ""], rows, "Nobody has looked yet.");
}

/** How long objects live, by what was allocated. */
async function lifetimes(capture: number): Promise<HTMLElement> {
  const tags = await get<Tags>(`/captures/${capture}/tags?sample=alloc_space`);
  const values = tags.keys.find((key) => key.key === "half_live")?.values ?? [];
  const times = values.flatMap(({ value, total }) => (typeof value === "number" ? [{ seconds: value / 1e9, total }] : [])).sort((a, b) => a.seconds - b.seconds);
  const rows = times.map(({ seconds, total }) =>
    h("tr", {}, h("td", { class: "num" }, duration(seconds)), h("td", { class: "num" }, bytes(total)), h("td", { class: "num" }, percent(total, tags.total))));
  const long = tags.total - times.reduce((sum, { total }) => sum + total, 0);
  if (long > 0) rows.push(h("tr", {}, h("td", { class: "num" }, "longer than was looked"), h("td", { class: "num" }, bytes(long)), h("td", { class: "num" }, percent(long, tags.total))));
  return h("section", {}, h("h3", {}, `How long objects of capture ${capture} live`),
    table("lifetimes", ["half of them live", "allocated", ""], rows, "Nothing was sampled."));
}

function killed(kills: readonly Kill[], captures: readonly Seen[]): HTMLElement {
  const rows = kills.map(({ time_ms: time, fields }) => {
    const heap = captures.find((capture) => capture.kind === "heap" && capture.target === fields.target && Math.abs(capture.time_ms - time) < TOGETHER_MS);
    const why = fields.cause === "cgroup" ? `cgroup ${fields.cgroup} at its limit of ${bytes(fields.limit_bytes ?? 0)}` : "the machine was out of memory";
    return h("tr", {},
      h("td", {}, day(time)),
      h("td", {}, fields.target === null ? fields.name : h("a", { href: `/target/${fields.target}` }, fields.name), h("span", { class: "dim" }, ` pid ${fields.pid}`)),
      h("td", { class: "num" }, bytes(fields.resident_bytes)),
      h("td", {}, why),
      h("td", {}, heap ? h("a", { href: `/capture/${heap.id}` }, "the heap of the moment") : null));
  });
  return table("kills", ["time", "program", "resident", "why", ""], rows, "The kernel has killed nothing for want of memory while somebody looked.");
}
