// The filter bar: what is filtered, as chips that can be removed, and one more.

import { h } from "../../dom";
import { FILTERS, type FilterKey } from "./state";
import type { Context } from "./view";

export function filterBar(context: Context): HTMLElement {
  const state = context.state();
  const chips = FILTERS.filter(({ key }) => state.get(key) !== "").map(({ key, label, title }) =>
    h("span", { class: "chip", title, "data-testid": `chip-${key}` },
      h("b", {}, label), key === "noinlines" ? "" : ` ${state.get(key)} `,
      h("button", { type: "button", "aria-label": `remove ${label}`, click: () => context.show({ [key]: "" }) }, "×")));
  const select = h("select", { "aria-label": "filter" });
  for (const { key, label, title } of FILTERS) select.append(h("option", { value: key, title }, label));
  const input = h("input", { type: "text", placeholder: "regular expression", "aria-label": "filter by", size: 22 });
  const kind = (): FilterKey => FILTERS.find(({ key }) => key === select.value)?.key ?? "f";
  select.addEventListener("change", () => {
    input.disabled = kind() === "noinlines";
    input.placeholder = kind().startsWith("tag") ? "tag key" : kind().startsWith("t") ? "key=value or a range" : "regular expression";
  });
  const form = h("form", { class: "tools", submit: (event) => {
    event.preventDefault();
    const value = kind() === "noinlines" ? "1" : input.value.trim();
    if (value) context.show({ [kind()]: value });
  } }, select, input, h("button", { type: "submit" }, "filter"));
  const clear = Object.fromEntries(FILTERS.map(({ key }) => [key, ""]));
  return h("div", { class: "tools filters", "data-testid": "filters" }, form, ...chips,
    chips.length > 1 && h("button", { type: "button", click: () => context.show(clear) }, "remove all"));
}
