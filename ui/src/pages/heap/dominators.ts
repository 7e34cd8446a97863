// The dominator tree: what would be free without what, level by level.

import { h } from "../../dom";
import { bytes, percent } from "../../format";
import type { Dominated, HeapGroup, HeapNode } from "../../heapapi";
import { TreeRows } from "../../widgets/treerows";
import { failed } from "../parts";
import { nodeLine, nodeLink } from "./parts";
import type { Context, View } from "./view";

const PAGE = 100;
/** Open branches that a link can hold. */
const OPEN_MAX = 40;

type Row = HeapNode | HeapGroup;

function isGroup(row: Row): row is HeapGroup {
  return "group" in row;
}

export async function dominatorsView(context: Context): Promise<View> {
  const state = context.state();
  const node = state.get("node") || "root";
  const path = state.get("path");
  const isGrouped = state.get("group") === "type" && !path;
  const whole = context.summary.live_bytes;
  let top: HeapNode | null = null;
  const notice = h("div", { "aria-live": "polite" });
  const load = async (above: readonly Row[], offset: number): Promise<Dominated<Row>> => {
    const paging = { limit: String(PAGE), offset: String(offset) };
    const last = above.at(-1);
    const answer = isGrouped
      ? await context.ask<Dominated<Row>>("dominators", { node, group: "type", path: above.map((row) => (isGroup(row) ? row.group : "")).join(","), ...paging })
      : await context.ask<Dominated<Row>>("dominators", last && !isGroup(last) ? { node: last.node, ...paging } : { node, path, ...paging });
    top ??= answer.node;
    return answer;
  };
  const rows = new TreeRows<Row>([
    { title: "retained", text: (row) => bytes(row.retained_bytes) },
    { title: "%", text: (row) => percent(row.retained_bytes, whole) },
    { title: "objects", text: (row) => row.retained_objects.toLocaleString("en") },
    { title: "own", text: (row) => bytes(row.bytes ?? 0) },
  ], {
    label: "dominators",
    key: (row) => (isGroup(row) ? row.group : row.node),
    name: (row) => (isGroup(row) ? groupName(row) : nodeName(context, row)),
    hasChildren: (row) => row.has_children,
    load,
    onPick: (picked) => pick(context, node, picked),
    onOpen: (open) => context.keep({ open: open.slice(0, OPEN_MAX).join("~") }),
    onError: (error) => notice.replaceChildren(...failed(error)),
  }, { node, kind: "", name: "", retained_bytes: 0, retained_objects: 0, reachable: true, has_children: true });
  await rows.start(state.get("open").split("~").filter(Boolean));
  const observer = new ResizeObserver(() => rows.draw(true));
  observer.observe(rows.element);
  return {
    element: h("div", {}, tools(context, isGrouped), heading(context, top, path), notice, rows.element),
    close: () => observer.disconnect(),
  };
}

function tools(context: Context, isGrouped: boolean): HTMLElement {
  const change = (group: string): void => context.show({ group, open: "", path: "" });
  const button = (text: string, group: string, isOn: boolean): HTMLElement =>
    h("button", { type: "button", "aria-pressed": String(isOn), click: () => change(group) }, text);
  return h("div", { class: "tools" },
    h("span", { class: "group" }, button("objects", "", !isGrouped), button("grouped by type", "type", isGrouped)),
    h("a", { href: context.link({ view: "treemap", node: context.state().get("node") }) }, "as a map"),
    h("span", { class: "dim" }, "what is below a line would be free without it"));
}

function heading(context: Context, top: HeapNode | null, path: string): HTMLElement | null {
  if (!top || (top.kind === "root" && !path)) return null;
  return h("p", { class: "hint" }, path ? `members of ${path} below ` : "below ", nodeLine(context, top), " · ",
    h("a", { href: context.link({ view: "dominators" }) }, "all roots"));
}

function nodeName(context: Context, row: HeapNode): HTMLElement {
  return h("span", {}, nodeLink(context, row), row.address ? h("span", { class: "mono dim" }, ` ${row.address}`) : null);
}

function groupName(row: HeapGroup): HTMLElement {
  return h("span", { class: "mono" }, row.name, h("span", { class: "dim" }, ` × ${row.nodes.toLocaleString("en")}`));
}

function pick(context: Context, node: string, picked: readonly Row[]): void {
  const last = picked.at(-1);
  if (!last) return;
  if (!isGroup(last)) {
    context.show(last.kind === "object" ? { view: "why", object: last.node } : { view: "dominators", node: last.node });
    return;
  }
  const path = picked.map((row) => (isGroup(row) ? row.group : "")).join(",");
  context.show({ view: "dominators", node, path });
}

