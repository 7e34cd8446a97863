// The API about execution traces as types. Times are nanoseconds since the begin of the trace.

export interface Durations { readonly count: number; readonly total_nanos: number; readonly max_nanos: number }

export interface Curve { readonly first: number; readonly last: number; readonly min: number; readonly max: number }

export interface TraceSummary {
  readonly format: string;
  readonly warning: string | null;
  readonly events: number;
  readonly duration_nanos: number;
  readonly gomaxprocs: number;
  readonly procs: number;
  readonly threads: number;
  readonly goroutines_before: number;
  readonly goroutines_created: number;
  readonly goroutines_ended: number;
  readonly collections: number;
  readonly stops: Readonly<Record<string, Durations>>;
  readonly objects: { readonly before: number; readonly allocated: number; readonly freed: number } | null;
  readonly heap_bytes: Curve | null;
}

export interface Collection {
  readonly start_nanos: number;
  readonly is_cut_at_start: boolean;
  readonly is_cut_at_end: boolean;
  readonly sweep_termination_nanos: number | null;
  readonly mark_nanos: number;
  readonly mark_termination_nanos: number | null;
  readonly assists: Durations;
  readonly dedicated_nanos: number;
  readonly fractional_nanos: number;
  readonly idle_nanos: number;
  readonly heap_before_bytes: number | null;
  readonly heap_peak_bytes: number | null;
  readonly heap_live_bytes: number | null;
  readonly goal_bytes: number | null;
}

export interface Collections {
  readonly collections: readonly Collection[];
  readonly other_stops: Durations;
}

export interface GoroutineGroup {
  readonly function: string;
  readonly goroutines: number;
  readonly total_nanos: number;
  readonly running_nanos: number;
  readonly runnable_nanos: number;
  readonly blocked_nanos: Readonly<Record<string, number>>;
  readonly syscall_nanos: number;
  readonly syscall_blocked_nanos: number;
  readonly assist_nanos: number;
}

export interface GoroutineGroups { readonly functions: readonly GoroutineGroup[] }

/** A stretch of a track: start, length, index of the name, goroutine or -1, which part of the length it covers, activity. */
export type Slice = readonly [number, number, number, number, number, number];

/** Activities that have a colour of their own. */
export const COLLECTING = 3;

export interface Track {
  readonly name: string;
  /** The goroutine whose track it is; null for all others. */
  readonly goroutine: number | null;
  readonly slices: readonly Slice[];
}

/** Figures at equal distances from `from` to `to`; null where nothing is known. */
export interface TraceSeries {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

export interface Timeline {
  readonly from: number;
  readonly to: number;
  readonly names: readonly string[];
  readonly tracks: readonly Track[];
  readonly series: readonly TraceSeries[];
}

export interface MmuPoint {
  readonly window_nanos: number;
  readonly minimum: number;
  readonly low_1_percent: number;
  readonly low_5_percent: number;
}

/** Mutator utilisation: which part of the Ps the collector left to the program. */
export interface Mmu {
  readonly curve: readonly MmuPoint[];
  readonly window_nanos: number;
  readonly worst: readonly { readonly start_nanos: number; readonly utilization: number }[];
}

export interface Percentiles { readonly total: number; readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number }

export interface TaskType {
  readonly name: string;
  readonly count: number;
  readonly incomplete: number;
  readonly nanos: Percentiles;
  readonly marking_nanos: number;
  readonly regions: number;
  readonly logs: number;
}

export interface RegionType { readonly name: string; readonly function: string; readonly count: number; readonly incomplete: number; readonly nanos: Percentiles }

export interface Tasks { readonly types: readonly TaskType[]; readonly regions: readonly RegionType[]; readonly logs: number }

export interface ObjectCount { readonly objects: number; readonly bytes: number }

/** Columns by class: freed, still living, the share that survives it. */
export interface Ends { readonly freed: readonly number[]; readonly living: readonly number[]; readonly survival: readonly (number | null)[] }

export interface TypeLifetimes {
  readonly type: string;
  readonly existed: ObjectCount;
  readonly allocated: ObjectCount;
  readonly freed: ObjectCount;
  readonly young: ObjectCount;
  readonly within: ObjectCount;
  readonly living: ObjectCount;
  readonly survivors: number;
  readonly survival: number | null;
  readonly by_log2_nanos: Ends;
  readonly by_collections: Ends;
}

export interface FunctionLifetimes { readonly function: string; readonly allocated: ObjectCount; readonly freed: ObjectCount; readonly young: ObjectCount }

export interface Lifetimes {
  readonly collections: number;
  readonly gcs: number;
  readonly within_nanos: number;
  readonly existed: ObjectCount;
  readonly allocated: ObjectCount;
  readonly freed: ObjectCount;
  readonly living: ObjectCount;
  readonly types: readonly TypeLifetimes[];
  readonly functions: readonly FunctionLifetimes[];
}
