// What the watch does: rules with state and reason, what they did, who was told, where series go.

import { type Target, ApiFailure, get } from "../../api";
import { h } from "../../dom";
import { bytes, clock, day, duration } from "../../format";
import { listen, throttled } from "../../live";
import type { Page } from "../../router";
import * as api from "../../watchapi";

/** Firing first, then what is about to, then what cannot tell. */
const PHASES = ["firing", "throttled", "pending", "inactive", "excluded", "disabled"];

export async function watch(query: URLSearchParams): Promise<Page> {
  const chosen = query.get("target");
  const target = chosen === null ? null : Number(chosen);
  const targets = await get<readonly Target[]>("/targets");
  const parts = { states: h("div"), acts: h("div"), told: h("div"), sent: h("div"), events: h("div"), replay: h("div") };
  const names = new Map(targets.map(({ id, name, pid }) => [id, pid === null ? name : `${name} (${pid})`]));
  const refresh = async (): Promise<void> => {
    const [rules, acts, told, sent, events] =
      await Promise.all([api.rules(target), api.history(target), api.notifications(), api.destinations(), api.events()]);
    parts.states.replaceChildren(states(rules));
    parts.acts.replaceChildren(history(acts, names));
    parts.told.replaceChildren(notifications(told));
    parts.sent.replaceChildren(destinations(sent));
    parts.events.replaceChildren(log(events, names));
  };
  await refresh();
  const later = throttled(1000, () => void refresh());
  const close = listen(later);
  const element = h("div", {}, h("h1", {}, "Watch"), chooser(targets, target),
    h("h2", {}, "Rules"), parts.states,
    h("h2", {}, "What rules did"), parts.acts,
    target === null ? null : h("section", {}, h("h2", {}, "What rules would have done"), replayer(target, parts.replay)),
    h("h2", {}, "Notifications"), parts.told,
    h("h2", {}, "Remote write"), parts.sent,
    h("h2", {}, "Events"), parts.events);
  return { element, close };
}

function chooser(targets: readonly Target[], target: number | null): HTMLElement {
  const link = (id: number | null, text: string): HTMLElement =>
    id === target ? h("b", {}, text) : h("a", { href: id === null ? "/watch" : `/watch?target=${id}` }, text);
  const alive = targets.filter((each) => each.alive || each.id === target);
  const links = [link(null, "all targets"), ...alive.map((each) => link(each.id, each.pid === null ? each.name : `${each.name} (${each.pid})`))];
  return h("p", { "data-testid": "targets" }, ...links.flatMap((each, index) => (index > 0 ? [" · ", each] : [each])));
}

function table(testid: string, head: readonly string[], rows: readonly HTMLElement[], empty: string): HTMLElement {
  if (rows.length === 0) return h("p", { class: "dim", "data-testid": testid }, empty);
  return h("table", { "data-testid": testid }, h("thead", {}, h("tr", {}, ...head.map((text) => h("th", {}, text)))), h("tbody", {}, ...rows));
}

function states({ rules, states: all }: api.Rules): HTMLElement {
  const order = new Map(rules.map(({ name }, index) => [name, index]));
  const rank = (state: api.RuleState): number => PHASES.indexOf(state.phase) * 1000 + (order.get(state.rule) ?? 999);
  const severities = new Map(rules.map(({ name, severity }) => [name, severity]));
  const rows = [...all].sort((a, b) => rank(a) - rank(b)).map((state) => {
    const isActive = ["firing", "throttled"].includes(state.phase);
    const look = isActive ? "leak" : state.phase === "pending" ? "other" : "healthy";
    const call = h("button", { type: "button", title: "rules that wait for a call fire", click: () => void api.call(state.rule, state.target) }, "call");
    return h("tr", {},
      h("td", {}, h("span", { class: `verdict ${look}` }, state.phase)),
      h("td", {}, state.rule, h("span", { class: "dim" }, ` ${severities.get(state.rule) ?? ""}`)),
      h("td", {}, h("a", { href: `/target/${state.target}` }, state.name)),
      h("td", { "data-testid": "reason" }, state.reason, state.since_ms === null ? null : h("span", { class: "dim" }, ` since ${clock(state.since_ms)}`)),
      h("td", {}, state.rule === "by-hand" ? call : null));
  });
  return table("states", ["state", "rule", "target", "why", ""], rows, "No target is under watch, or there are no rules.");
}

function history(acts: readonly api.Act[], names: ReadonlyMap<number, string>): HTMLElement {
  const rows = acts.map((act) => {
    const captures = act.captures.flatMap((id, index) => [index > 0 ? " " : "", h("a", { href: `/capture/${id}` }, String(id))]);
    const cost = act.captures.length === 0 ? "" : `${(act.cpu_micros / 1e6).toFixed(2)} s, ${bytes(act.bytes)}`;
    return h("tr", {},
      h("td", {}, day(act.time_ms)), h("td", {}, act.kind), h("td", {}, act.rule),
      h("td", {}, names.get(act.target) ?? `target ${act.target}`),
      h("td", {}, act.reason, act.error ? h("div", { class: "error" }, act.error) : null),
      h("td", {}, ...captures), h("td", { class: "num" }, cost));
  });
  return table("acts", ["time", "", "rule", "target", "why", "captures", "cost"], rows, "No rule has acted yet.");
}

function notifications(told: readonly api.Notification[]): HTMLElement {
  const rows = told.map((each) =>
    h("tr", {},
      h("td", {}, day(each.time_ms)), h("td", {}, each.receiver, h("span", { class: "dim" }, ` ${each.integration}`)),
      h("td", {}, `${each.firing} firing, ${each.resolved} resolved`), h("td", {}, each.alerts.join("; ")),
      h("td", {}, each.status, each.attempts > 1 ? ` after ${each.attempts} attempts` : "",
        each.error ? h("div", { class: "error" }, each.error) : null)));
  return table("told", ["time", "receiver", "", "alerts", ""], rows, "Nobody was told anything yet.");
}

function destinations(sent: readonly api.Destination[]): HTMLElement {
  const rows = sent.map((each) => {
    const dropped = Object.entries(each.dropped).map(([reason, count]) => `${count} ${reason}`).join(", ");
    return h("tr", {},
      h("td", {}, each.name), h("td", {}, each.protocol === "V2" ? "2.0" : "1.0"),
      h("td", { class: "num" }, each.sent.toLocaleString("en")), h("td", { class: "num" }, each.pending.toLocaleString("en")),
      h("td", {}, each.delay_seconds === null ? "-" : duration(each.delay_seconds)), h("td", {}, dropped || "-"),
      h("td", {}, each.failing ? h("span", { class: "error" }, each.error ?? "fails") : "works"));
  });
  return table("sent", ["destination", "version", "sent", "pending", "behind", "dropped", ""], rows, "Series are sent nowhere.");
}

function log(events: readonly api.LoggedEvent[], names: ReadonlyMap<number, string>): HTMLElement {
  const rows = events.map((event) =>
    h("tr", {},
      h("td", {}, day(event.time_ms)),
      h("td", { class: event.level === "error" || event.level === "warn" ? "error" : "dim" }, event.kind),
      h("td", {}, event.target === null ? "" : (names.get(event.target) ?? `target ${event.target}`)), h("td", {}, event.message)));
  return table("log", ["time", "kind", "target", "what"], rows, "Nothing has happened yet.");
}

/** Runs the rules over what is stored of a target. */
function replayer(target: number, place: HTMLElement): HTMLElement {
  const run = async (): Promise<void> => {
    place.replaceChildren(h("p", { class: "dim" }, "…"));
    try {
      const { observations, decisions } = await api.replay(target);
      const rows = decisions.map((each) =>
        h("tr", {}, h("td", {}, day(Date.parse(each.time))), h("td", {}, each.kind), h("td", {}, each.rule), h("td", {}, each.reason),
          h("td", {}, each.captures.join(", "))));
      place.replaceChildren(h("p", {}, `over ${observations.toLocaleString("en")} observations:`),
        table("replayed", ["time", "", "rule", "why", "would have taken"], rows, "No rule would have acted."));
    } catch (error) {
      const text = error instanceof ApiFailure ? error.message : String(error);
      place.replaceChildren(h("p", { class: "error" }, text));
    }
  };
  return h("div", {}, h("p", {}, h("button", { type: "button", "data-testid": "replay", click: () => void run() }, "replay the rules"),
    h("span", { class: "dim" }, " over all that is stored of this target; verdicts and pressure are not")), place);
}
