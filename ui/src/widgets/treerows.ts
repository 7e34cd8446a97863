// A tree whose branches are loaded when they are opened, as rows of which only those in
// view exist. Keys: up and down move, right and left open and close, Enter picks.

import { h } from "../dom";

const ROW_PIXELS = 24;
const EXTRA = 8;

export interface TreeColumn<T> { readonly title: string; readonly text: (row: T) => string }

export interface TreeOptions<T> {
  readonly label: string;
  /** Key among siblings. */
  readonly key: (row: T) => string;
  readonly name: (row: T) => HTMLElement;
  readonly hasChildren: (row: T) => boolean;
  /** The children of the row at the end of a path from the top, from the one numbered `offset` on. */
  readonly load: (path: readonly T[], offset: number) => Promise<{ readonly rows: readonly T[]; readonly total: number }>;
  readonly onPick: (path: readonly T[]) => void;
  /** Which rows are open has changed: the keys of each one's path. */
  readonly onOpen: (open: readonly string[]) => void;
  readonly onError: (error: unknown) => void;
}

interface Item<T> {
  readonly row: T;
  readonly path: readonly T[];
  readonly id: string;
  isOpen: boolean;
  children: Item<T>[];
  total: number;
}

/** A row, or the one that loads more of its parent's children. */
interface Line<T> { readonly item: Item<T>; readonly isMore: boolean }

export class TreeRows<T> {
  readonly element: HTMLElement;
  private readonly body = h("tbody", { role: "presentation" });
  private readonly top: Item<T>;
  private lines: Line<T>[] = [];
  private current = 0;
  private first = -1;

  constructor(private readonly columns: readonly TreeColumn<T>[], private readonly options: TreeOptions<T>, root: T) {
    this.top = { row: root, path: [], id: "", isOpen: true, children: [], total: 0 };
    const heads = [h("th", {}, "what"), ...columns.map((column) => h("th", { class: "num" }, column.title))];
    this.element = h("div", { class: "rows tree", tabindex: 0, role: "tree", "aria-label": options.label, "data-testid": options.label },
      h("table", { role: "presentation" }, h("thead", { role: "presentation" }, h("tr", { role: "presentation" }, ...heads)), this.body));
    this.element.addEventListener("scroll", () => this.draw(false));
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element && this.key(event)) event.preventDefault();
    });
    this.body.addEventListener("click", (event) => this.click(event));
  }

  /** Loads the top, and what is open below it. */
  async start(open: readonly string[]): Promise<void> {
    await this.loadMore(this.top);
    for (const id of open) {
      const item = this.find(id);
      if (item && !item.isOpen) await this.open(item);
    }
    this.rebuild();
  }

  draw(isChanged: boolean): void {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_PIXELS) - EXTRA);
    if (!isChanged && first === this.first) return;
    this.first = first;
    const shown = Math.ceil((this.element.clientHeight || 800) / ROW_PIXELS) + 2 * EXTRA;
    const end = Math.min(this.lines.length, first + shown);
    const spacer = (lines: number): HTMLElement => h("tr", { style: `height: ${lines * ROW_PIXELS}px`, "aria-hidden": "true" });
    this.body.replaceChildren(spacer(first), ...this.lines.slice(first, end).map((line, index) => this.line(line, first + index)),
      spacer(this.lines.length - end));
    this.element.setAttribute("aria-activedescendant", `${this.options.label}-${this.current}`);
  }

  private line({ item, isMore }: Line<T>, index: number): HTMLElement {
    const depth = item.path.length - (isMore ? 0 : 1);
    const indent = h("span", { style: `display: inline-block; width: ${depth * 16}px` });
    const isLeaf = !this.options.hasChildren(item.row);
    const mark = h("span", { class: "mark", "aria-hidden": "true" }, isMore || isLeaf ? "" : item.isOpen ? "▾" : "▸");
    const name = isMore
      ? h("a", { href: "#", "data-more": "1" }, `${(item.total - item.children.length).toLocaleString("en")} more`)
      : this.options.name(item.row);
    return h("tr", {
      id: `${this.options.label}-${index}`, "data-row": index, role: "treeitem", "aria-level": depth + 1,
      "aria-expanded": isMore || isLeaf ? undefined : String(item.isOpen), class: index === this.current ? "current" : undefined,
    }, h("td", {}, indent, mark, name), ...this.columns.map((column) => h("td", { class: "num" }, isMore ? "" : column.text(item.row))));
  }

  private click(event: MouseEvent): void {
    if (!(event.target instanceof Element)) return;
    const row = event.target.closest<HTMLElement>("tr[data-row]");
    const line = row && this.lines[Number(row.dataset["row"])];
    if (!line) return;
    this.current = Number(row.dataset["row"]);
    const link = event.target.closest("a");
    if (link && link.dataset["more"] === undefined) return;
    event.preventDefault();
    void this.toggle(line);
  }

  private key(event: KeyboardEvent): boolean {
    const line = this.lines[this.current];
    if (!line) return false;
    const { item } = line;
    const moves: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -this.lines.length, End: this.lines.length };
    const by = moves[event.key];
    if (by !== undefined) this.moveTo(this.current + by);
    else if (event.key === "ArrowRight" && !item.isOpen && !line.isMore) void this.toggle(line);
    else if (event.key === "ArrowRight") this.moveTo(this.current + 1);
    else if (event.key === "ArrowLeft" && item.isOpen && !line.isMore) void this.toggle(line);
    else if (event.key === "ArrowLeft") this.moveTo(this.lines.findIndex((other) => other.item === this.parent(item) && !other.isMore));
    else if (event.key === "Enter" && line.isMore) void this.toggle(line);
    else if (event.key === "Enter") this.options.onPick(item.path);
    else return false;
    return true;
  }

  private moveTo(index: number): void {
    this.current = Math.max(0, Math.min(this.lines.length - 1, index));
    const top = this.current * ROW_PIXELS;
    const { scrollTop, clientHeight } = this.element;
    // The head stays above the rows.
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + 3 * ROW_PIXELS > scrollTop + clientHeight) this.element.scrollTop = top + 3 * ROW_PIXELS - clientHeight;
    this.draw(true);
  }

  private async toggle({ item, isMore }: Line<T>): Promise<void> {
    try {
      if (isMore) await this.loadMore(item);
      else if (item.isOpen) item.isOpen = false;
      else await this.open(item);
    } catch (error) {
      this.options.onError(error);
    }
    this.rebuild();
    if (!isMore) this.options.onOpen(this.opened());
  }

  private async open(item: Item<T>): Promise<void> {
    if (!this.options.hasChildren(item.row)) return;
    if (item.children.length === 0) await this.loadMore(item);
    item.isOpen = true;
  }

  private async loadMore(item: Item<T>): Promise<void> {
    const { rows, total } = await this.options.load(item.path, item.children.length);
    item.total = rows.length ? total : item.children.length;
    item.children.push(...rows.map((row): Item<T> => ({
      row, path: [...item.path, row], id: [item.id, this.options.key(row)].filter(Boolean).join("/"), isOpen: false, children: [], total: 0,
    })));
  }

  private rebuild(): void {
    const lines: Line<T>[] = [];
    const add = (item: Item<T>): void => {
      for (const child of item.children) {
        lines.push({ item: child, isMore: false });
        if (child.isOpen) add(child);
      }
      if (item.total > item.children.length) lines.push({ item, isMore: true });
    };
    add(this.top);
    this.lines = lines;
    this.current = Math.min(this.current, Math.max(0, lines.length - 1));
    this.draw(true);
  }

  private opened(): string[] {
    return this.lines.filter(({ item, isMore }) => item.isOpen && !isMore).map(({ item }) => item.id);
  }

  private find(id: string): Item<T> | undefined {
    let item: Item<T> | undefined = this.top;
    let path = "";
    for (const part of id.split("/")) {
      path = [path, part].filter(Boolean).join("/");
      item = item?.children.find((child) => child.id === path);
    }
    return item;
  }

  private parent(item: Item<T>): Item<T> | undefined {
    return this.find(item.id.split("/").slice(0, -1).join("/"));
  }
}
