// What can be done with a function: a menu that mouse and keys work.

import { h } from "../../dom";
import { exactly, quoted } from "./state";
import type { Context } from "./view";

interface Item { readonly text: string; readonly act: () => void }

function items(context: Context, name: string): readonly Item[] {
  const state = context.state();
  const only = exactly(name);
  const either = (key: string): string => [state.get(key), only].filter(Boolean).join("|");
  return [
    { text: "focus: only stacks with it", act: () => context.show({ f: only }) },
    { text: "ignore: no stacks with it", act: () => context.show({ i: either("i") }) },
    { text: "hide: stacks without it", act: () => context.show({ h: either("h") }) },
    { text: "show from: stacks from it on", act: () => context.show({ sf: only }) },
    { text: "sandwich: callers and callees", act: () => context.show({ view: "sandwich", function: name }) },
    { text: "source", act: () => context.show({ view: "source", code: quoted(name) }) },
    { text: "disassembly", act: () => context.show({ view: "disasm", code: quoted(name) }) },
    { text: "search for it", act: () => context.show({ q: quoted(name) }) },
    { text: "copy its name", act: () => void navigator.clipboard?.writeText(name) },
  ];
}

let close: (() => void) | null = null;

export function closeMenu(): void {
  close?.();
}

export function openMenu(context: Context, name: string, x: number, y: number): void {
  close?.();
  const before = document.activeElement;
  const menu = h("div", { class: "menu", role: "menu", "data-testid": "menu" }, h("div", { class: "mono dim" }, name));
  const away = (event: MouseEvent): void => {
    if (!(event.target instanceof Node && menu.contains(event.target))) close?.();
  };
  close = (): void => {
    close = null;
    document.removeEventListener("mousedown", away);
    menu.remove();
    if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  };
  for (const { text, act } of items(context, name)) {
    menu.append(h("button", { type: "button", role: "menuitem", click: () => { close?.(); act(); } }, text));
  }
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll("button")];
    const at = buttons.findIndex((button) => button === document.activeElement);
    if (event.key === "Escape") close?.();
    else if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length]?.focus();
    else if (event.key === "ArrowUp") buttons[(at + buttons.length - 1) % buttons.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(menu);
  const box = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(4, Math.min(x, innerWidth - box.width - 4))}px`;
  menu.style.top = `${Math.max(4, Math.min(y, innerHeight - box.height - 4))}px`;
  document.addEventListener("mousedown", away);
  menu.querySelector("button")?.focus({ preventScroll: true });
}
