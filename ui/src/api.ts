// The API v1 as types, and how to call it.

export interface Interval { readonly estimate: number | null; readonly low: number | null; readonly high: number | null }

export interface Target {
  readonly id: number;
  readonly name: string;
  readonly spec: string;
  readonly pid: number | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly alive: boolean;
  readonly first_seen_ms: number;
  readonly last_seen_ms: number;
  readonly latest: Readonly<Record<string, number | null>>;
  readonly verdict: string | null;
  readonly leak: boolean;
  readonly confidence: number | null;
  readonly summary: string | null;
  readonly time_to_limit_seconds: Interval | null;
}

export interface Series {
  readonly times: readonly number[];
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface Capture {
  readonly id: number;
  readonly kind: string;
  readonly time_ms: number;
  readonly reason: string;
  readonly bytes: number;
  readonly cost_micros: number;
}

export interface Frame { readonly function: string; readonly file: string; readonly line: number }

export interface Site extends Frame {
  readonly share: number;
  readonly stack: readonly Frame[];
}

export interface Finding {
  readonly kind: string;
  readonly leak: boolean;
  readonly confidence: number;
  readonly summary: string;
  readonly sites: readonly Site[];
  readonly retainers: readonly { readonly path: readonly string[] }[];
  readonly evidence: readonly string[];
  readonly captures: readonly number[];
  readonly next: string;
}

export interface Status { readonly snapshots: boolean; readonly traces: boolean }

export interface Diagnosis {
  readonly verdict: string;
  readonly time_ms: number;
  readonly span_seconds: number;
  readonly findings: readonly Finding[];
  readonly warnings: readonly string[];
}

export interface Meta {
  readonly id: number;
  readonly target: number;
  readonly kind: string;
  readonly time_ms: number;
  readonly sample_types: readonly { readonly kind: string; readonly unit: string }[];
  readonly default_sample_type: string | null;
  readonly totals: Readonly<Record<string, number>>;
  readonly samples: number;
}

export interface TableRow extends Frame {
  readonly flat: number;
  readonly cum: number;
  readonly flat_base: number;
  readonly cum_base: number;
}

export interface Table {
  readonly unit: string;
  readonly total: number;
  readonly base_total: number;
  readonly is_diff: boolean;
  readonly rows: readonly TableRow[];
}

export interface TreeNode {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly value: number;
  readonly base: number;
  readonly self: number;
  readonly children: readonly TreeNode[];
}

export interface Sandwich { readonly unit: string; readonly callers: TreeNode; readonly callees: TreeNode }

/** What the server said instead of an answer. */
export class ApiFailure extends Error {
  constructor(message: string, readonly next: string) {
    super(message);
  }
}

async function fetchOk(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, init);
  } catch {
    throw new ApiFailure("the server does not answer", "is memsight serve still running?");
  }
  if (!response.ok) {
    const body: unknown = await response.json().catch(() => ({}));
    const text = (key: string): string =>
      typeof body === "object" && body !== null && key in body ? String((body as Record<string, unknown>)[key]) : "";
    throw new ApiFailure(text("error") || `the server answered ${response.status}`, text("next"));
  }
  return response;
}

/** Fetches JSON. The server's contract is checked by its own tests. */
export async function get<T>(path: string): Promise<T> {
  return (await (await fetchOk(path)).json()) as T;
}

/** Asks the server to do something. */
export async function post<T>(path: string): Promise<T> {
  return (await (await fetchOk(path, { method: "POST" })).json()) as T;
}

export async function getText(path: string): Promise<string> {
  return (await fetchOk(path)).text();
}

export async function getBytes(path: string): Promise<ArrayBuffer> {
  return (await fetchOk(path)).arrayBuffer();
}

export interface TagValue { readonly value: string | number; readonly total: number; readonly share: number }

export interface TagKey {
  readonly key: string;
  readonly numeric: boolean;
  readonly unit: string;
  readonly total: number;
  readonly values: readonly TagValue[];
  readonly omitted: number;
}

export interface Tags { readonly unit: string; readonly total: number; readonly keys: readonly TagKey[] }

export interface Instruction {
  readonly address: string;
  readonly text: string;
  readonly flat: number;
  readonly cum: number;
  readonly function: string;
  readonly file: string;
  readonly line: number;
}

export interface SourceLine {
  readonly line: number;
  readonly text: string;
  readonly flat: number;
  readonly cum: number;
  readonly instructions?: readonly Instruction[];
}

export interface SourceFunction {
  readonly function: string;
  readonly file: string;
  readonly flat: number;
  readonly cum: number;
  readonly error: string | null;
  readonly lines: readonly SourceLine[];
}

export interface Source { readonly unit: string; readonly total: number; readonly functions: readonly SourceFunction[] }

export interface DisasmSymbol {
  readonly symbol: string;
  readonly path: string;
  readonly flat: number;
  readonly cum: number;
  readonly instructions: readonly Instruction[];
}

export interface Disasm {
  readonly unit: string;
  readonly total: number;
  readonly symbols: readonly DisasmSymbol[];
  readonly error: string | null;
}
