// One capture: flame graph, table and sandwich, alone or against another capture.

import { type Capture, type Meta, type Sandwich, type Table, type TableRow, type TreeNode, get, getBytes, viewQuery } from "../api";
import { h } from "../dom";
import { bytes, change, clock, percent, quantity } from "../format";
import { decode } from "../msf";
import { type Page, navigate, replaceQuery } from "../router";
import { Flame } from "../widgets/flame";

type ViewName = "flame" | "table" | "sandwich";
const VIEWS: readonly ViewName[] = ["flame", "table", "sandwich"];

export async function profile(id: number, query: URLSearchParams): Promise<Page> {
  const meta = await get<Meta>(`/captures/${id}/meta`);
  const others = await get<readonly Capture[]>(`/targets/${meta.target}/captures?kind=${meta.kind}&limit=300`);
  const page = new ProfilePage(meta, others, query);
  await page.show();
  return { element: page.element, close: () => page.close() };
}

class ProfilePage {
  readonly element: HTMLElement;
  private readonly content = h("div");
  private readonly found = h("span", { class: "dim", "data-testid": "found" });
  private readonly viewButtons = new Map<ViewName, HTMLButtonElement>();
  private readonly relative: HTMLButtonElement;
  private flame: Flame | null = null;
  private table: Table | null = null;

  constructor(
    private readonly meta: Meta,
    others: readonly Capture[],
    private readonly query: URLSearchParams,
  ) {
    const views = h("span", { class: "group" });
    for (const name of VIEWS) {
      const button = h("button", { type: "button", click: () => this.set("view", name) }, name);
      this.viewButtons.set(name, button);
      views.append(button);
    }
    const search = h("input", { type: "search", placeholder: "search functions (regular expression)", "aria-label": "search", size: 32 });
    search.value = query.get("q") ?? "";
    search.addEventListener("input", () => {
      this.remember("q", search.value);
      this.applySearch();
    });
    this.relative = h("button", { type: "button", title: "colour by the share of each frame that changed", click: () => this.toggleRelative() }, "relative");
    this.element = h(
      "div",
      { "data-testid": "profile" },
      h("div", { class: "tools" }, h("h1", {}, `${meta.kind} profile`),
        h("span", { class: "dim" }, `${clock(meta.time_ms)} · ${meta.samples.toLocaleString("en")} samples ·`),
        h("a", { href: `/target/${meta.target}` }, "target"),
        h("a", { href: `/api/v1/captures/${meta.id}/profile`, download: `capture-${meta.id}.pb.gz` }, "download")),
      h("div", { class: "tools" }, views, this.sampleSelect(), this.baseSelect(others),
        this.base() !== undefined && this.relative, search, this.found),
      this.content,
    );
  }

  close(): void {
    this.flame?.close();
  }

  async show(): Promise<void> {
    const view = this.view();
    for (const [name, button] of this.viewButtons) button.setAttribute("aria-pressed", String(name === view));
    this.relative.setAttribute("aria-pressed", String(this.query.get("relative") === "1"));
    this.flame?.close();
    this.flame = null;
    this.table = null;
    if (view === "flame") await this.showFlame();
    else if (view === "table") await this.showTable();
    else await this.showSandwich();
    this.applySearch();
  }

  private view(): ViewName {
    return VIEWS.find((name) => name === this.query.get("view")) ?? "flame";
  }

  private sample(): string | undefined {
    return this.query.get("sample") ?? this.meta.default_sample_type ?? undefined;
  }

  private base(): number | undefined {
    const base = this.query.get("base");
    return base === null ? undefined : Number(base);
  }

  private unit(): string {
    return this.meta.sample_types.find((type) => type.kind === this.sample())?.unit ?? "count";
  }

  private path(what: string, more: Readonly<Record<string, string>> = {}): string {
    return `/captures/${this.meta.id}/${what}${viewQuery({ sample: this.sample(), base: this.base() }, more)}`;
  }

  private remember(key: string, value: string): void {
    if (value) this.query.set(key, value);
    else this.query.delete(key);
    replaceQuery(this.query);
  }

  /** Changes what is shown, as a step that Back undoes. */
  private set(key: string, value: string): void {
    const query = new URLSearchParams(this.query);
    if (value) query.set(key, value);
    else query.delete(key);
    if (key !== "view") query.delete("z");
    navigate(`/capture/${this.meta.id}?${query}`);
  }

  private sampleSelect(): HTMLElement {
    const select = h("select", { "aria-label": "sample type", change: () => this.set("sample", select.value) });
    for (const type of this.meta.sample_types) {
      const total = quantity(this.meta.totals[type.kind] ?? 0, type.unit);
      select.append(h("option", { value: type.kind, selected: type.kind === this.sample() }, `${type.kind} (${total})`));
    }
    return select;
  }

  private baseSelect(others: readonly Capture[]): HTMLElement {
    const select = h("select", { "aria-label": "compare with", "data-testid": "base", change: () => this.set("base", select.value) });
    select.append(h("option", { value: "" }, "compare with ..."));
    for (const other of others.filter((capture) => capture.id !== this.meta.id)) {
      const text = `${clock(other.time_ms)} (#${other.id}, ${bytes(other.bytes)})`;
      select.append(h("option", { value: other.id, selected: other.id === this.base() }, text));
    }
    return select;
  }

  private toggleRelative(): void {
    this.remember("relative", this.query.get("relative") === "1" ? "" : "1");
    const isRelative = this.query.get("relative") === "1";
    this.relative.setAttribute("aria-pressed", String(isRelative));
    if (this.flame) {
      this.flame.relative = isRelative;
      this.flame.draw();
    } else void this.show();
  }

  private async showFlame(): Promise<void> {
    const tree = decode(await getBytes(this.path("flame")));
    this.flame = new Flame(tree, {
      unit: this.unit(),
      zoom: Number(this.query.get("z") ?? 0),
      relative: this.query.get("relative") === "1",
      onZoom: (node) => this.remember("z", node === 0 ? "" : String(node)),
      onPick: (name) => this.pick(name),
    });
    const hint = tree.isDiff
      ? "red has grown, blue has shrunk; width is the larger of before and now"
      : "click zooms, double click opens the callers and callees, Escape shows the whole";
    this.content.replaceChildren(h("p", { class: "dim" }, hint), this.flame.element);
    this.flame.draw();
  }

  private pick(name: string): void {
    this.query.set("function", name);
    this.set("view", "sandwich");
  }

  private async showTable(): Promise<void> {
    this.table = await get<Table>(this.path("table", { limit: "2000" }));
    this.content.replaceChildren();
  }

  private applySearch(): void {
    const text = this.query.get("q") ?? "";
    if (this.flame) this.found.textContent = this.flame.search(text);
    if (!this.table) return;
    let pattern: RegExp | null = null;
    try {
      pattern = new RegExp(text, "i");
    } catch {
      this.found.textContent = "not a regular expression";
    }
    const rows = this.table.rows.filter((row) => !pattern || pattern.test(row.function) || pattern.test(row.file));
    if (pattern) this.found.textContent = text ? `${rows.length} functions` : "";
    this.content.replaceChildren(this.tableElement(this.table, rows));
  }

  private tableElement(table: Table, rows: readonly TableRow[]): HTMLElement {
    const isRelative = this.query.get("relative") === "1";
    const heads = table.is_diff ? ["before", "now", "change", "cum change"] : ["flat", "flat %", "cum", "cum %"];
    const cells = (row: TableRow): readonly string[] => {
      if (!table.is_diff) {
        return [quantity(row.flat, table.unit), percent(row.flat, table.total), quantity(row.cum, table.unit), percent(row.cum, table.total)];
      }
      const delta = (now: number, before: number): string =>
        isRelative ? percent(now - before, before) : change(now - before, table.unit);
      return [quantity(row.flat_base, table.unit), quantity(row.flat, table.unit), delta(row.flat, row.flat_base), delta(row.cum, row.cum_base)];
    };
    const body = rows.slice(0, 1000).map((row) => {
      const delta = row.flat - row.flat_base;
      const look = table.is_diff && delta !== 0 ? (delta > 0 ? "grow" : "shrink") : "";
      const numbers = cells(row).map((text, index) => h("td", { class: `num ${index === 2 ? look : ""}` }, text));
      const name = h("a", { href: "#", click: (event) => { event.preventDefault(); event.stopPropagation(); this.pick(row.function); } }, row.function);
      return h("tr", {}, ...numbers, h("td", { class: "mono" }, name), h("td", { class: "mono dim" }, row.file));
    });
    return h("table", { "data-testid": "functions" },
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { class: "num" }, head)), h("th", {}, "function"), h("th", {}, "file"))),
      h("tbody", {}, ...body));
  }

  private async showSandwich(): Promise<void> {
    const name = this.query.get("function");
    if (!name) {
      // Without a function in the address the largest one is a good start.
      const table = await get<Table>(this.path("table", { limit: "1" }));
      const first = table.rows[0];
      if (!first) {
        this.content.replaceChildren(h("p", { class: "dim" }, "the profile is empty"));
        return;
      }
      this.remember("function", first.function);
      return this.showSandwich();
    }
    const both = await get<Sandwich>(this.path("sandwich", { function: name }));
    const isDiff = this.base() !== undefined;
    const side = (title: string, node: TreeNode): HTMLElement =>
      h("div", {}, h("h2", {}, title), ...node.children.map((child) => treeElement(child, node, both.unit, isDiff, 0)),
        node.children.length === 0 && h("p", { class: "dim" }, "none"));
    const total = isDiff ? change(both.callees.value - both.callees.base, both.unit) : quantity(both.callees.value, both.unit);
    this.content.replaceChildren(
      h("p", { class: "mono" }, h("b", {}, name), `  ${total}, ${quantity(both.callees.self, both.unit)} itself`),
      h("div", { class: "two", "data-testid": "sandwich" }, side("callers", both.callers), side("callees", both.callees)),
    );
  }
}

const OPEN_DEPTH = 3;

function treeElement(node: TreeNode, whole: TreeNode, unit: string, isDiff: boolean, depth: number): HTMLElement {
  const value = isDiff ? change(node.value - node.base, unit) : `${quantity(node.value, unit)} ${percent(node.value, whole.value)}`;
  const summary = h("summary", { class: "mono" }, h("span", { class: "dim" }, `${value}  `), node.name);
  const element = h("details", { class: "node", open: depth < OPEN_DEPTH }, summary);
  const fill = (): void => {
    if (element.childElementCount > 1) return;
    element.append(...node.children.map((child) => treeElement(child, whole, unit, isDiff, depth + 1)));
  };
  // Deep trees are built as they are opened.
  if (depth < OPEN_DEPTH) fill();
  else element.addEventListener("toggle", fill, { once: true });
  return element;
}
