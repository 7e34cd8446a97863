// What the page and its views know of each other.

import type { Capture } from "../../api";
import type { HeapSummary } from "../../heapapi";
import type { State } from "./state";

export interface Context {
  readonly summary: HeapSummary;
  /** Graphs of the same target to compare with. */
  readonly others: readonly Capture[];
  /** What is shown now. */
  state(): State;
  /** Changes the address and shows it, as a step that Back undoes. */
  show(changes: Changes): void;
  /** Changes the address to what the view shows already. */
  keep(changes: Changes): void;
  /** The address of the page with changes, for links. */
  link(changes: Changes): string;
  /** Asks the API about this graph. */
  ask<T>(what: string, parameters?: Changes): Promise<T>;
}

/** Parameters; the empty string removes one. */
export type Changes = Readonly<Record<string, string>>;

export interface View {
  readonly element: HTMLElement;
  /** Acts on a key; false when it means nothing to this view. */
  key?(event: KeyboardEvent): boolean;
  close?(): void;
}
