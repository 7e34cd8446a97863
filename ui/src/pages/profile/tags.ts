// Tags: their values with shares; a click filters, buttons make frames of them.

import { type TagKey, type TagValue, type Tags, get } from "../../api";
import { h } from "../../dom";
import { percent, quantity } from "../../format";
import { exactly } from "./state";
import type { Context, View } from "./view";

export async function tagsView(context: Context): Promise<View> {
  const tags = await get<Tags>(context.path("tags"));
  if (tags.keys.length === 0) {
    return { element: h("p", { class: "dim", "data-testid": "tags" }, "the profile has no tags (labels of samples)") };
  }
  const lines: { readonly text: string; readonly element: HTMLElement }[] = [];
  const cards = tags.keys.map((key) => {
    const bars = key.values.map((value) => {
      const element = bar(context, tags, key, value);
      lines.push({ text: `${key.key}=${value.value}`, element });
      return element;
    });
    return h("section", { class: "card" },
      h("div", { class: "tools" },
        h("h2", {}, key.key), h("span", { class: "dim" }, `${quantity(key.total, tags.unit)}, ${percent(key.total, tags.total)} of all`),
        frames(context, "tagroot", "as root", key.key), frames(context, "tagleaf", "as leaf", key.key)),
      ...bars,
      key.omitted > 0 && h("p", { class: "dim" }, `and ${key.omitted.toLocaleString("en")} smaller values`));
  });
  return {
    element: h("div", { "data-testid": "tags" },
      h("p", { class: "dim" }, "click a value for only samples that have it, × for all others; as root or as leaf makes frames of the values"), ...cards),
    search(pattern) {
      const shown = lines.filter(({ text, element }) => {
        element.hidden = pattern !== null && !pattern.test(text);
        return !element.hidden;
      });
      return pattern ? `${shown.length} values` : "";
    },
  };
}

function bar(context: Context, tags: Tags, key: TagKey, value: TagValue): HTMLElement {
  const text = key.numeric ? quantity(Number(value.value), key.unit) : String(value.value);
  // A number is a range from itself to itself; a text is an expression.
  const filter = `${key.key}=${key.numeric ? `${value.value}${key.unit}` : exactly(String(value.value))}`;
  const width = Math.max(0, Math.min(100, 100 * Math.abs(value.share)));
  return h("div", { class: "tagbar" },
    h("button", { type: "button", title: `only ${filter}`, click: () => context.show({ tf: filter }) },
      h("i", { style: `width: ${width.toFixed(2)}%` }), h("span", { class: "mono" }, text || "(empty)")),
    h("span", { class: "num" }, quantity(value.total, tags.unit)),
    h("span", { class: "num dim" }, percent(value.total, tags.total)),
    h("button", { type: "button", "aria-label": `ignore ${filter}`, title: `without ${filter}`, click: () => context.show({ ti: filter }) }, "×"));
}

/** Switches the values of a key into frames, and back. */
function frames(context: Context, where: "tagroot" | "tagleaf", text: string, key: string): HTMLElement {
  const keys = context.state().get(where).split(",").filter(Boolean);
  const isOn = keys.includes(key);
  const next = isOn ? keys.filter((other) => other !== key) : [...keys, key];
  return h("button", { type: "button", "aria-pressed": String(isOn), click: () => context.show({ [where]: next.join(",") }) }, text);
}
