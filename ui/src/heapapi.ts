// Answers about object graphs, as the API v1 gives them below /captures/{id}/heap.

import type { Frame } from "./api";

export interface HeapSet { readonly bytes: number; readonly objects: number }

export interface HeapNode {
  /** The name by which it can be asked for: id:N, holder:N, root. */
  readonly node: string;
  readonly kind: string;
  readonly name: string;
  readonly type?: number;
  readonly address?: string | null;
  readonly bytes?: number;
  readonly retained_bytes: number;
  readonly retained_objects: number;
  readonly reachable: boolean;
  readonly has_children: boolean;
  /** The field of the pointer, where the node is the end of one. */
  readonly via?: string;
}

/** Nodes of one type, or roots of one kind, below the same parents. */
export interface HeapGroup {
  readonly group: string;
  readonly name: string;
  readonly nodes: number;
  readonly bytes: number;
  readonly retained_bytes: number;
  readonly retained_objects: number;
  readonly has_children: boolean;
}

export interface Rest { readonly count: number; readonly retained_bytes: number }

export interface Dominated<T> {
  readonly node: HeapNode;
  readonly total: number;
  readonly rows: readonly T[];
  readonly rest: Rest;
}

export interface HeapSummary {
  readonly id: number;
  readonly target: number;
  readonly time_ms: number;
  readonly reason: string;
  readonly live_bytes: number;
  readonly live_objects: number;
  readonly unreachable_bytes: number;
  readonly unreachable_objects: number;
  readonly heap_in_use_bytes: number | null;
  readonly types: number;
  readonly typed_bytes: number;
  readonly goroutines: number;
  readonly pointers: number;
  readonly source: {
    readonly runtime: string;
    readonly target: string;
    readonly method: string;
    readonly pause_seconds: number | null;
  };
  readonly warnings: readonly string[];
}

export interface HeapType {
  readonly id: number | null;
  readonly type: string;
  readonly package: string | null;
  readonly objects: number;
  readonly bytes: number;
  readonly retained_bytes: number;
  readonly retained_objects: number;
  readonly unreachable_objects: number;
  readonly unreachable_bytes: number;
}

export interface OneType extends HeapType {
  readonly fields: readonly { readonly offset: number; readonly name: string; readonly type: string | null }[];
  readonly dominators: readonly {
    readonly name: string;
    readonly type: number | null;
    readonly dominators: number;
    readonly objects: number;
    readonly bytes: number;
  }[];
}

export interface Listed<T> { readonly total: number; readonly matching: number; readonly rows: readonly T[] }

export interface Found { readonly total: number; readonly bytes: number; readonly rows: readonly HeapNode[]; readonly roots: readonly HeapNode[] }

export interface MapNode extends Omit<HeapNode, "node" | "kind" | "reachable" | "has_children"> {
  readonly node?: string;
  readonly group?: string;
  readonly count: number;
  readonly bytes: number;
  readonly has_children?: boolean;
  readonly below: readonly MapNode[];
  readonly rest: Rest;
}

export interface HeapStep extends HeapNode { readonly text: string; readonly repeats: number }

export interface HeapPath { readonly path: readonly string[]; readonly steps: readonly HeapStep[]; readonly objects: HeapSet }

export interface HeapWhy {
  readonly object: HeapNode | null;
  readonly objects: HeapSet;
  readonly paths: readonly HeapPath[];
  readonly other_paths?: number;
  readonly other_objects?: HeapSet;
  readonly unreachable?: HeapSet;
  readonly weak: readonly HeapStep[];
}

export interface HeapObject extends HeapNode {
  readonly outgoing: readonly HeapNode[];
  readonly outgoing_total: number;
  readonly incoming: readonly HeapNode[];
  readonly incoming_total: number;
  readonly dominators: readonly HeapNode[];
  readonly allocated_at?: readonly Frame[] | null;
  readonly fill?: { readonly used: number; readonly capacity: number } | null;
}

export interface Local extends HeapNode {
  readonly variable?: string;
  readonly place?: string;
  readonly type_name?: string | null;
  readonly guessed?: boolean;
  readonly targets: readonly HeapNode[];
  readonly targets_total: number;
}

export interface Goroutine extends HeapNode {
  readonly id: number;
  readonly state: string;
  readonly wait_reason: string;
  readonly stack_bytes: number;
  readonly stack: readonly Frame[];
  readonly locals: readonly Local[];
  readonly locals_total: number;
}

export interface GoroutineGroup {
  readonly goroutines: number;
  readonly retained_bytes: number;
  readonly stack_bytes: number;
  readonly state: string;
  readonly wait_reason: string;
  readonly stack: readonly Frame[];
  readonly largest: HeapNode;
}

export interface TypeChange {
  readonly type: string;
  readonly id: number | null;
  readonly before: HeapSet;
  readonly after: HeapSet;
  readonly retained_bytes_before: number;
  readonly retained_bytes: number;
  readonly new: HeapSet | null;
  readonly freed: HeapSet | null;
}

export interface RootChange {
  readonly root: string;
  readonly kind: string;
  readonly holders_before: number;
  readonly holders: number;
  readonly retained_bytes_before: number;
  readonly retained_bytes: number;
}

export interface PathChange {
  readonly type: string;
  readonly path: readonly string[];
  readonly steps: readonly HeapStep[];
  readonly before: HeapSet;
  readonly after: HeapSet;
}

export interface HeapDiff {
  readonly matched_by_address: boolean;
  readonly live: { readonly before: HeapSet; readonly after: HeapSet };
  readonly types_total: number;
  readonly types: readonly TypeChange[];
  readonly roots_total: number;
  readonly roots: readonly RootChange[];
  readonly paths: readonly PathChange[];
  readonly grown: readonly (HeapNode & { readonly retained_bytes_before: number })[];
}
