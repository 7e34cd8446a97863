// Goroutines with their stacks, their variables and what they retain.

import type { Frame } from "../../api";
import { h } from "../../dom";
import { bytes } from "../../format";
import type { Goroutine, GoroutineGroup, Listed, Local } from "../../heapapi";
import { failed } from "../parts";
import { count, explorable, filterBox, growing, stackLines } from "./parts";
import type { Context, View } from "./view";

const PAGE = 50;

export async function goroutinesView(context: Context): Promise<View> {
  const isGrouped = context.state().get("group") !== "each";
  const place = h("div", { "data-testid": "goroutines" });
  const result = h("span", { class: "dim", "data-testid": "found", "aria-live": "polite" });
  let turn = 0;
  const fetchRows = <T>(offset: number): Promise<Listed<T>> => context.ask<Listed<T>>("goroutines", {
    q: context.state().get("q"), group: isGrouped ? "stack" : "", limit: String(PAGE), offset: String(offset),
  });
  const list = async <T>(row: (item: T) => HTMLElement, noun: string): Promise<void> => {
    turn += 1;
    const mine = turn;
    const first = await fetchRows<T>(0);
    if (mine !== turn) return;
    result.textContent = `${count(first.matching, noun)} of ${count(first.total, "goroutine")}`;
    place.replaceChildren(growing(first.rows, first.matching, async (offset) => (await fetchRows<T>(offset)).rows, row));
  };
  const show = (): Promise<void> => (isGrouped
    ? list<GoroutineGroup>((group) => groupRow(context, group), "stack")
    : list<Goroutine>((goroutine) => goroutineRow(context, goroutine), "goroutine"));
  const filter = filterBox(context, "filter by function or state", () => {
    show().catch((error: unknown) => place.replaceChildren(...failed(error)));
  });
  await show();
  const change = (group: string) => (): void => context.show({ group });
  return {
    element: h("div", {},
      h("div", { class: "tools" },
        h("span", { class: "group" },
          h("button", { type: "button", "aria-pressed": String(isGrouped), click: change("") }, "by stack"),
          h("button", { type: "button", "aria-pressed": String(!isGrouped), click: change("each") }, "one by one")),
        filter, result),
      place),
  };
}

/** The innermost frame that is not of the runtime, or the outermost. */
function place(stack: readonly Frame[]): string {
  const own = stack.find((frame) => !/^(runtime|internal|sync|java|jdk)[./]/.test(frame.function));
  return (own ?? stack.at(-1))?.function ?? "(no stack)";
}

function state(of: { readonly state: string; readonly wait_reason: string }): string {
  return [of.state, of.wait_reason].filter(Boolean).join(", ");
}

function groupRow(context: Context, group: GoroutineGroup): HTMLElement {
  const { largest } = group;
  return h("details", { class: "node" },
    h("summary", {}, h("b", {}, count(group.goroutines, "goroutine")), ` retain ${bytes(group.retained_bytes)} · `,
      h("span", { class: "mono" }, place(group.stack)),
      h("span", { class: "dim" }, ` ${state(group)}, stacks ${bytes(group.stack_bytes)}`)),
    h("div", { class: "inside" }, ...stackLines(group.stack),
      h("p", { class: "dim" }, "the one that retains most"), explorable(context, largest)));
}

function goroutineRow(context: Context, goroutine: Goroutine): HTMLElement {
  const more = goroutine.locals_total - goroutine.locals.length;
  return h("details", { class: "node", "data-goroutine": goroutine.id },
    h("summary", {}, h("b", {}, goroutine.name), ` retains ${bytes(goroutine.retained_bytes)} · `,
      h("span", { class: "mono" }, place(goroutine.stack)),
      h("span", { class: "dim" }, ` ${state(goroutine)}, stack ${bytes(goroutine.stack_bytes)}`)),
    h("div", { class: "inside" }, ...stackLines(goroutine.stack),
      h("p", { class: "dim" }, `variables (${goroutine.locals_total.toLocaleString("en")})`),
      ...goroutine.locals.map((local) => localRow(context, local)),
      more > 0 ? h("p", { class: "dim" }, `${more.toLocaleString("en")} more`) : null,
      h("p", {}, h("a", { href: context.link({ view: "dominators", node: goroutine.node }) }, "what it dominates"))));
}

function localRow(context: Context, local: Local): HTMLElement {
  const more = local.targets_total - local.targets.length;
  const guessed = local.guessed ? " (perhaps a pointer)" : "";
  return h("div", { class: "local", "data-testid": "local" },
    h("div", {}, h("b", { class: "mono" }, local.variable ?? local.name), h("span", { class: "mono dim" }, ` ${local.type_name ?? ""} ${local.place ?? ""}`),
      h("span", { class: "dim" }, `${guessed} retains ${bytes(local.retained_bytes)}`)),
    ...local.targets.map((target) => explorable(context, target)),
    more > 0 ? h("p", { class: "dim" }, `points to ${more.toLocaleString("en")} more`) : null);
}
