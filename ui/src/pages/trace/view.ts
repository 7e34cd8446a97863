// What the page of a trace and its views know of each other.

import type { TraceSummary } from "../../traceapi";

export type Changes = Readonly<Record<string, string>>;

export interface Context {
  readonly id: number;
  readonly summary: TraceSummary;
  /** A parameter of the address; empty when missing. */
  parameter(name: string): string;
  /** Changes the address and shows it, as a step that Back undoes. */
  show(changes: Changes): void;
  /** Changes the address to what the view shows already. */
  keep(changes: Changes): void;
  /** Asks the API about this trace. */
  ask<T>(what: string, parameters?: Changes): Promise<T>;
}

export interface View {
  readonly element: HTMLElement;
  /** Acts on a key; false when it means nothing to this view. */
  key?(event: KeyboardEvent): boolean;
  close?(): void;
}

/** A moment, exactly enough to be told from others within `span` nanoseconds of it. */
export function moment(value: number, span: number): string {
  const [unit, name] = value < 1e3 ? [1, "ns"] : value < 1e6 ? [1e3, "µs"] : value < 1e9 ? [1e6, "ms"] : [1e9, "s"];
  const digits = Math.ceil(Math.log10(unit / Math.max(1, span))) + 2;
  return `${(value / unit).toFixed(Math.min(9, Math.max(0, digits)))} ${name}`;
}

/** Nanoseconds as people read them; the same rules as the command line. */
export function nanos(value: number): string {
  const size = Math.abs(value);
  if (size < 1e3) return `${Math.round(value)} ns`;
  const [scaled, unit] = size < 999_500 ? [value / 1e3, "µs"] : size < 999_500_000 ? [value / 1e6, "ms"] : [value / 1e9, "s"];
  const digits = Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0;
  return `${scaled.toFixed(digits)} ${unit}`;
}
