// Entry: routes, live updates, theme.

import { ApiFailure } from "./api";
import { byId, h, isDark } from "./dom";
import { connect } from "./live";
import { overview } from "./pages/overview";
import { profile } from "./pages/profile/index";
import { target } from "./pages/target";
import { type Page, type Route, interceptLinks } from "./router";
import "./style.css";

const ROUTES: readonly Route[] = [
  { pattern: /^\/$/, open: () => overview() },
  { pattern: /^\/target\/(\d+)$/, open: (id) => target(id) },
  { pattern: /^\/target\/(\d+)\/runtime$/, open: async (id, query) => (await import("./pages/runtime/index")).runtime(id, query) },
  { pattern: /^\/watch$/, open: async (_, query) => (await import("./pages/watch/index")).watch(query) },
  { pattern: /^\/probes$/, open: async (_, query) => (await import("./pages/probes/index")).probes(query) },
  { pattern: /^\/processes$/, open: async (_, query) => (await import("./pages/processes/index")).processes(query) },
  { pattern: /^\/capture\/(\d+)$/, open: (id, query) => profile(id, query) },
  { pattern: /^\/heap\/(\d+)$/, open: async (id, query) => (await import("./pages/heap/index")).heap(id, query) },
  { pattern: /^\/trace\/(\d+)$/, open: async (id, query) => (await import("./pages/trace/index")).trace(id, query) },
];

let current: Page | null = null;
let currentPath = "";
let turn = 0;

async function open(): Promise<void> {
  turn += 1;
  const mine = turn;
  const path = location.pathname;
  let page: Page;
  try {
    page = await match();
  } catch (error) {
    page = failure(error);
  }
  // A slow page must not replace the one that was asked for after it.
  if (mine !== turn) {
    page.close?.();
    return;
  }
  current?.close?.();
  current = page;
  currentPath = path;
  byId("page").replaceChildren(page.element);
  window.dispatchEvent(new Event("resize"));
}

function match(): Promise<Page> {
  for (const { pattern, open: openPage } of ROUTES) {
    const found = pattern.exec(location.pathname);
    if (found) return openPage(Number(found[1] ?? 0), new URLSearchParams(location.search));
  }
  throw new ApiFailure("there is no such page", "the overview lists all targets");
}

function failure(error: unknown): Page {
  const next = error instanceof ApiFailure ? error.next : "";
  const text = error instanceof Error ? error.message : String(error);
  return { element: h("div", {}, h("p", { class: "error" }, text), h("p", {}, next), h("a", { href: "/" }, "overview")) };
}

function setUpTheme(): void {
  const stored = localStorage.getItem("theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset["theme"] = stored;
  byId("theme").addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    localStorage.setItem("theme", next);
    void open();
  });
}

setUpTheme();
interceptLinks();
connect((isOpen) => {
  byId("live").textContent = isOpen ? "live" : "not connected";
});
window.addEventListener("popstate", () => {
  if (current?.update && location.pathname === currentPath) current.update(new URLSearchParams(location.search));
  else void open();
});
void open();
