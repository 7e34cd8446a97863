// Pieces that several views show: nodes, paths, lists that grow on demand.

import type { Frame } from "../../api";
import { h } from "../../dom";
import { bytes } from "../../format";
import type { HeapNode, HeapObject, HeapPath, HeapStep } from "../../heapapi";
import { failed } from "../parts";
import type { Context } from "./view";

/** Pointers of a node that are shown at first, and with each step more. */
const POINTERS = 20;

export function count(value: number, noun: string): string {
  return `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
}

/** A link to why a node is alive; roots lead to what they dominate. */
export function nodeLink(context: Context, node: HeapNode, text = node.name): HTMLElement {
  const isObject = node.kind === "object";
  const href = isObject ? context.link({ view: "why", object: node.node }) : context.link({ view: "dominators", node: node.node });
  return h("a", { href, class: "mono", title: isObject ? "why is this alive?" : "what does it dominate?" }, text);
}

function figures(node: HeapNode): string {
  if (!node.reachable) return `${bytes(node.bytes ?? 0)}, unreachable`;
  const own = node.bytes === undefined ? "" : `${bytes(node.bytes)}, `;
  return `${own}retains ${bytes(node.retained_bytes)} in ${count(node.retained_objects, "object")}`;
}

/** One line about a node. */
export function nodeLine(context: Context, node: HeapNode, text = node.name): HTMLElement {
  const { via } = node;
  return h("span", { class: "nodeline" },
    via ? h("span", { class: "mono dim" }, `${via} `) : null,
    nodeLink(context, node, text),
    node.address ? h("span", { class: "mono dim" }, ` ${node.address}`) : null,
    h("span", { class: "dim" }, ` ${figures(node)}`));
}

/** A node that opens to what points to it and what it points to, and so on. */
export function explorable(context: Context, node: HeapNode, text = node.name): HTMLElement {
  if (node.kind === "root") return h("div", { class: "leaf" }, nodeLine(context, node, text));
  const inside = h("div", { class: "inside" });
  const details = h("details", { class: "node", "data-node": node.node }, h("summary", {}, nodeLine(context, node, text)), inside);
  let isAsked = false;
  details.addEventListener("toggle", () => {
    if (!details.open || isAsked) return;
    isAsked = true;
    inside.replaceChildren(h("p", { class: "dim" }, "looking ..."));
    pointers(context, node).then((lists) => inside.replaceChildren(...lists), (error: unknown) => {
      isAsked = false;
      inside.replaceChildren(...failed(error));
    });
  });
  return details;
}

async function pointers(context: Context, node: HeapNode): Promise<readonly HTMLElement[]> {
  const ask = (offset: number): Promise<HeapObject> =>
    context.ask<HeapObject>("object", { node: node.node, limit: String(POINTERS), offset: String(offset) });
  const first = await ask(0);
  const list = (title: string, total: number, pick: (object: HeapObject) => readonly HeapNode[]): HTMLElement =>
    h("div", { "data-list": title }, h("p", { class: "dim" }, `${title} (${total.toLocaleString("en")})`),
      growing(pick(first), total, async (offset) => pick(await ask(offset)), (row) => explorable(context, row)));
  return [
    list("referrers", first.incoming_total, (object) => object.incoming),
    list("references", first.outgoing_total, (object) => object.outgoing),
  ];
}

/** A list that shows more of its rows when asked. */
export function growing<T>(
  first: readonly T[],
  total: number,
  more: (offset: number) => Promise<readonly T[]>,
  row: (item: T) => HTMLElement,
): HTMLElement {
  const list = h("div", {}, ...first.map(row));
  let shown = first.length;
  const button = h("button", { type: "button" });
  const label = (): void => {
    button.hidden = shown >= total;
    button.textContent = `${(total - shown).toLocaleString("en")} more`;
  };
  const note = h("span");
  button.addEventListener("click", () => {
    button.disabled = true;
    more(shown).then((rows) => {
      list.append(...rows.map(row));
      shown = rows.length ? shown + rows.length : total;
      note.replaceChildren();
    }, (error: unknown) => note.replaceChildren(...failed(error))).finally(() => {
      button.disabled = false;
      label();
    });
  });
  label();
  return h("div", {}, list, h("div", { class: "tools" }, button, note));
}

/** A path from a root, each step of which opens to its other neighbours. */
export function pathCard(context: Context, path: HeapPath, total: number): HTMLElement {
  const share = path.objects.objects > 1 || total > 1
    ? h("p", { class: "dim" }, `${count(path.objects.objects, "object")}, ${bytes(path.objects.bytes)}`) : null;
  return h("section", { class: "card", "data-testid": "path" }, share, steps(context, path.steps));
}

export function steps(context: Context, list: readonly HeapStep[]): HTMLElement {
  return h("div", { class: "steps" }, ...list.map((step) => explorable(context, { ...step, via: "" }, step.text)));
}

export function stackLines(frames: readonly Frame[]): HTMLElement[] {
  return frames.map((frame) => h("div", { class: "stack mono" }, frame.function, " ",
    h("span", { class: "dim" }, frame.line ? `${frame.file}:${frame.line}` : frame.file)));
}

/** A filter of a list; it acts when typing pauses. */
export function filterBox(context: Context, label: string, act: () => void): HTMLInputElement {
  const input = h("input", { type: "search", "aria-label": label, placeholder: label, size: 34 });
  input.value = context.state().get("q");
  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      context.keep({ q: input.value });
      act();
    }, 150);
  });
  return input;
}
