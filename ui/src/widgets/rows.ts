// A table of many rows of which only those in view exist.

import { h } from "../dom";

const ROW_PIXELS = 24;
const EXTRA = 8;

export interface Column<T> {
  readonly key: string;
  readonly title: string;
  readonly isNumber: boolean;
  /** Its text is a link that picks the row. */
  readonly isLink?: boolean;
  readonly text: (row: T) => string;
  readonly look?: (row: T) => string;
  /** Larger first when sorted; text columns sort by their text. */
  readonly sort?: (row: T) => number;
}

export interface RowsOptions<T> {
  readonly label: string;
  readonly sort: string;
  readonly onSort: (key: string) => void;
  readonly onPick: (row: T) => void;
  readonly onMenu?: (row: T, x: number, y: number) => void;
  readonly onHover?: (row: T | null) => void;
}

export class Rows<T> {
  readonly element: HTMLElement;
  private readonly body = h("tbody");
  private readonly heads: readonly HTMLTableCellElement[];
  private rows: readonly T[] = [];
  private first = -1;
  private sort: string;

  constructor(private readonly columns: readonly Column<T>[], private readonly options: RowsOptions<T>) {
    this.sort = options.sort;
    this.heads = columns.map((column) =>
      h("th", { class: column.isNumber ? "num" : undefined, "aria-sort": "none", tabindex: 0,
        click: () => this.sortBy(column.key),
        keydown: (event) => {
          if (event instanceof KeyboardEvent && event.key === "Enter") this.sortBy(column.key);
        } }, column.title));
    this.element = h("div", { class: "rows" },
      h("table", { "data-testid": options.label }, h("thead", {}, h("tr", {}, ...this.heads)), this.body));
    this.element.addEventListener("scroll", () => this.draw(false));
    const { onMenu, onHover } = options;
    if (onMenu) {
      this.body.addEventListener("contextmenu", (event) => this.at(event, (row) => {
        event.preventDefault();
        onMenu(row, event.clientX, event.clientY);
      }));
    }
    if (onHover) {
      this.body.addEventListener("mouseover", (event) => this.at(event, onHover));
      this.body.addEventListener("mouseleave", () => onHover(null));
    }
  }

  /** Shows these rows, in the order that is chosen. */
  show(rows: readonly T[]): void {
    const column = this.columns.find(({ key }) => key === this.sort) ?? this.columns[0]!;
    this.heads.forEach((head, index) => head.setAttribute("aria-sort", this.columns[index] === column ? "descending" : "none"));
    const { sort } = column;
    this.rows = sort
      ? rows.toSorted((a, b) => sort(b) - sort(a))
      : rows.toSorted((a, b) => column.text(a).localeCompare(column.text(b)));
    this.draw(true);
  }

  /** Draws what is in view; at once after a change, else when other rows came into view. */
  draw(isChanged: boolean): void {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_PIXELS) - EXTRA);
    if (!isChanged && first === this.first) return;
    this.first = first;
    const shown = Math.ceil((this.element.clientHeight || 800) / ROW_PIXELS) + 2 * EXTRA;
    const end = Math.min(this.rows.length, first + shown);
    const spacer = (count: number): HTMLElement => h("tr", { style: `height: ${count * ROW_PIXELS}px`, "aria-hidden": "true" });
    this.body.replaceChildren(spacer(first), ...this.rows.slice(first, end).map((row, index) => this.row(row, first + index)),
      spacer(this.rows.length - end));
  }

  private row(row: T, index: number): HTMLElement {
    return h("tr", { "data-row": index }, ...this.columns.map((column) => {
      const text = column.text(row);
      if (!column.isLink) return h("td", { class: `${column.isNumber ? "num" : "mono dim"} ${column.look?.(row) ?? ""}`, title: text }, text);
      const link = h("a", { href: "#", title: text, click: (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.options.onPick(row);
      } }, text);
      return h("td", { class: "mono" }, link);
    }));
  }

  private at(event: Event, act: (row: T) => void): void {
    const line = event.target instanceof Element ? event.target.closest<HTMLElement>("tr[data-row]") : null;
    const row = line && this.rows[Number(line.dataset["row"])];
    if (row) act(row);
  }

  private sortBy(key: string): void {
    this.sort = key;
    this.options.onSort(key);
    this.element.scrollTop = 0;
    this.show(this.rows);
  }
}
