// Why is this alive: paths from roots to an object or to all objects of a type. Every step
// opens to its other referrers and references.

import { h } from "../../dom";
import { bytes, percent } from "../../format";
import type { HeapObject, HeapWhy, OneType } from "../../heapapi";
import { count, explorable, nodeLine, pathCard, stackLines } from "./parts";
import type { Context, View } from "./view";

export async function whyView(context: Context): Promise<View> {
  const state = context.state();
  const [object, type] = [state.get("object"), state.get("type")];
  if (object) return { element: h("div", { "data-testid": "why" }, ...await ofObject(context, object)) };
  if (type) return { element: h("div", { "data-testid": "why" }, ...await ofType(context, type)) };
  return { element: h("p", { class: "dim", "data-testid": "why" },
    "Search for an address or a type above, or choose one from the types: then this shows what keeps it alive.") };
}

async function ofObject(context: Context, text: string): Promise<readonly (HTMLElement | null)[]> {
  const why = await context.ask<HeapWhy>("why", { object: text });
  const one = why.object;
  if (!one) return [h("h2", { class: "mono" }, text), ...paths(context, why)];
  const facts = await context.ask<HeapObject>("object", { node: one.node, limit: "20" });
  const alive = one.reachable ? null : h("p", { class: "error" }, "nothing reaches it: the collector will take it");
  return [
    h("h2", { class: "mono" }, one.name),
    h("p", {}, nodeLine(context, one), " · ",
      h("a", { href: context.link({ view: "dominators", node: one.node }) }, "what it dominates"), " · ",
      h("a", { href: context.link({ view: "objects", type: String(one.type ?? "") }) }, "others of its type")),
    alive,
    ...paths(context, why),
    h("h2", {}, "Neighbours"),
    h("p", { class: "dim" }, "open it to see what points to it and what it points to"),
    explorable(context, one),
    h("h2", {}, "Dominators"),
    h("p", { class: "dim" }, "from the inside out: without any of these it would be free"),
    ...facts.dominators.map((above) => h("div", {}, nodeLine(context, above))),
    facts.allocated_at ? h("h2", {}, "Allocated at") : null,
    ...(facts.allocated_at ? stackLines(facts.allocated_at) : []),
    facts.fill ? h("p", {}, `${facts.fill.used.toLocaleString("en")} of ${facts.fill.capacity.toLocaleString("en")} places in use`) : null,
  ];
}

function paths(context: Context, why: HeapWhy): HTMLElement[] {
  const shown = why.paths.map((path) => pathCard(context, path, why.objects.objects));
  const notes: string[] = [];
  if (why.other_paths) notes.push(`${count(why.other_paths, "more path")} to ${count(why.other_objects?.objects ?? 0, "object")}`);
  if (why.unreachable?.objects) notes.push(`${count(why.unreachable.objects, "object")} (${bytes(why.unreachable.bytes)}) unreachable`);
  const weak = why.weak.map((from) => h("div", {}, nodeLine(context, { ...from, via: "" }, from.text)));
  return [
    h("h2", {}, "Why alive"),
    ...(shown.length ? shown : [h("p", { class: "dim" }, "no path from a root")]),
    ...notes.map((note) => h("p", { class: "dim" }, note)),
    ...(weak.length ? [h("p", { class: "dim" }, "weak references, which keep nothing alive"), ...weak] : []),
  ];
}

async function ofType(context: Context, type: string): Promise<readonly (HTMLElement | null)[]> {
  const [about, why] = await Promise.all([
    context.ask<OneType>("type", { type }),
    context.ask<HeapWhy>("why", { type }),
  ]);
  const live = context.summary.live_bytes;
  return [
    h("h2", { class: "mono" }, about.type),
    h("p", {}, `${count(about.objects, "object")}, ${bytes(about.bytes)}, retain ${bytes(about.retained_bytes)} ` +
      `(${percent(about.retained_bytes, live)}) · `,
      h("a", { href: context.link({ view: "objects", type }) }, "the objects")),
    ...paths(context, why),
    h("h2", {}, "Immediate dominators"),
    h("table", { "data-testid": "typedominators" },
      h("thead", {}, h("tr", {}, h("th", { class: "num" }, "dominators"), h("th", { class: "num" }, "objects"), h("th", { class: "num" }, "bytes"), h("th", {}, "of type"))),
      h("tbody", {}, ...about.dominators.map((row) => h("tr", {},
        h("td", { class: "num" }, row.dominators.toLocaleString("en")),
        h("td", { class: "num" }, row.objects.toLocaleString("en")),
        h("td", { class: "num" }, bytes(row.bytes)),
        h("td", { class: "mono" }, row.type === null ? row.name : h("a", { href: context.link({ view: "objects", type: String(row.type) }) }, row.name)))))),
  ];
}
