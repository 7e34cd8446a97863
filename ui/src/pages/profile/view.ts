// What the page and its views know of each other.

import type { Capture, Meta } from "../../api";
import type { State } from "./state";

export interface Context {
  readonly meta: Meta;
  /** Captures to compare with. */
  readonly others: readonly Capture[];
  /** What is shown now. */
  state(): State;
  unit(): string;
  /** Changes the address and shows it, as a step that Back undoes. */
  show(changes: Readonly<Record<string, string>>): void;
  /** Changes the address to what the view shows already. */
  keep(changes: Readonly<Record<string, string>>): void;
  /** Path of an API call about this capture, with sample, base and filters. */
  path(what: string, more?: Readonly<Record<string, string>>): string;
  /** What can be done with a function. */
  menu(name: string, x: number, y: number): void;
}

export interface View {
  readonly element: HTMLElement;
  /** Marks what matches; says how much that is. */
  search?(pattern: RegExp | null): string;
  setRelative?(relative: boolean): void;
  /** Acts on a key; false when it means nothing to this view. */
  key?(event: KeyboardEvent): boolean;
  /** Shows where a function is, or nothing. */
  emphasise?(name: string | null): void;
  close?(): void;
}
