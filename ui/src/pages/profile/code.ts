// Source with what each line costs, with or without its instructions; disassembly.

import { type Disasm, type Instruction, type Source, type SourceFunction, type SourceLine, type Table, get } from "../../api";
import { h } from "../../dom";
import { percent, quantity } from "../../format";
import { quoted } from "./state";
import type { Context, View } from "./view";

/** The pattern of the functions to show; without one the largest function's. */
async function wanted(context: Context): Promise<string> {
  const asked = context.state().get("code");
  if (asked) return asked;
  const table = await get<Table>(context.path("table", { limit: "1" }));
  const first = table.rows[0];
  // Not anchored: symbols are matched together with their places.
  const pattern = first ? quoted(first.function) : "";
  context.keep({ code: pattern });
  return pattern;
}

function patternForm(context: Context, pattern: string, ...more: readonly HTMLElement[]): HTMLElement {
  const input = h("input", { type: "text", "aria-label": "functions", size: 48, value: pattern, placeholder: "regular expression on functions" });
  return h("form", { class: "tools", submit: (event) => {
    event.preventDefault();
    context.show({ code: input.value.trim() });
  } }, input, h("button", { type: "submit" }, "show"), ...more);
}

export async function sourceView(context: Context): Promise<View> {
  const pattern = await wanted(context);
  const isAsm = context.state().is("asm");
  const asm = h("button", { type: "button", "aria-pressed": String(isAsm), click: () => context.show({ asm: isAsm ? "" : "1" }) }, "assembly");
  const form = patternForm(context, pattern, asm);
  if (!pattern) return { element: form };
  const more: Record<string, string> = isAsm ? { asm: "1" } : {};
  const source = await get<Source>(context.path("source", { function: pattern, ...more }));
  const parts = source.functions.map((of) => sourceElement(of, source));
  return listing("source", form, parts, source.functions.length === 0 ? "no function matches" : null);
}

export async function disasmView(context: Context): Promise<View> {
  const pattern = await wanted(context);
  const form = patternForm(context, pattern);
  if (!pattern) return { element: form };
  const code = await get<Disasm>(context.path("disasm", { function: pattern }));
  const parts = code.symbols.map((symbol) => h("section", {},
    heading(symbol.symbol, symbol.path, symbol, code),
    h("table", { class: "code mono" }, h("tbody", {}, ...symbol.instructions.map((of) => instruction(of, code))))));
  return listing("disasm", form, parts, code.error ?? (code.symbols.length === 0 ? "no symbol matches" : null));
}

interface Values { readonly flat: number; readonly cum: number }
interface Whole { readonly unit: string; readonly total: number }

function listing(label: string, form: HTMLElement, parts: readonly HTMLElement[], error: string | null): View {
  const element = h("div", { "data-testid": label }, form, error !== null && h("p", { class: "error" }, error), ...parts);
  return {
    element,
    search(pattern) {
      let found = 0;
      for (const line of element.querySelectorAll("tr")) {
        const isFound = pattern !== null && pattern.test(line.textContent);
        line.classList.toggle("found", isFound);
        found += Number(isFound);
      }
      return pattern ? `${found} lines` : "";
    },
  };
}

function heading(name: string, place: string, values: Values, whole: Whole): HTMLElement {
  return h("p", { class: "mono codehead" }, h("b", {}, name), ` ${quantity(values.flat, whole.unit)} itself, ` +
    `${quantity(values.cum, whole.unit)} (${percent(values.cum, whole.total)}) with what it calls `, h("span", { class: "dim" }, place));
}

function cells(values: Values, whole: Whole): readonly HTMLElement[] {
  const text = (value: number): string => (value === 0 ? "." : quantity(value, whole.unit));
  const heat = whole.total === 0 ? 0 : Math.min(1, Math.abs(values.cum / whole.total));
  const style = heat > 0 ? `background: color-mix(in srgb, var(--bad) ${Math.round(8 + 40 * heat)}%, transparent)` : undefined;
  return [h("td", { class: "num", style }, text(values.flat)), h("td", { class: "num", style }, text(values.cum))];
}

function sourceElement(of: SourceFunction, whole: Whole): HTMLElement {
  const body = of.lines.flatMap((line) => sourceLine(line, of, whole));
  return h("section", {}, heading(of.function, of.file, of, whole),
    of.error !== null && h("p", { class: "error" }, of.error),
    h("table", { class: "code mono" },
      h("thead", {}, h("tr", {}, h("th", { class: "num" }, "flat"), h("th", { class: "num" }, "cum"), h("th", { class: "num" }, "line"), h("th", {}, "source"))),
      h("tbody", {}, ...body)));
}

function sourceLine(line: SourceLine, of: SourceFunction, whole: Whole): readonly HTMLElement[] {
  const code = (line.instructions ?? []).map((one) => {
    const row = instruction(one, whole);
    row.classList.add("asm");
    // Inlined code says where it is from.
    if (one.file !== of.file || one.line !== line.line) row.lastElementChild?.append(h("span", { class: "dim" }, `  ${one.function}:${one.line}`));
    return row;
  });
  return [h("tr", {}, ...cells(line, whole), h("td", { class: "num dim" }, String(line.line)), h("td", { class: "text" }, line.text)), ...code];
}

function instruction(of: Instruction, whole: Whole): HTMLElement {
  return h("tr", {}, ...cells(of, whole), h("td", { class: "num dim" }, of.address), h("td", { class: "text" }, of.text));
}
