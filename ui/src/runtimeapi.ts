// The API about runtime metrics and resident memory as types.

export interface RssKind { readonly kind: string; readonly label: string; readonly group: string }

/** Resident memory over time, by what it is used for. */
export interface RssSeries {
  readonly times: readonly number[];
  readonly captures: readonly number[];
  readonly kinds: readonly RssKind[];
  readonly values: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface RssAdvice {
  readonly setting: string;
  readonly reason: string;
  readonly risk: string;
  readonly saves_bytes: { readonly low: number; readonly high: number };
}

export interface RssCause {
  readonly cause: string;
  readonly bytes: number;
  readonly meaning: string;
  readonly detail: string | null;
  readonly next: string | null;
}

/** One account of the resident memory. */
export interface RssAccount {
  readonly time_ms: number;
  readonly rss_bytes: number;
  readonly kinds: readonly { readonly kind: string; readonly group: string; readonly label: string; readonly bytes: number; readonly huge_bytes: number }[];
  /** The largest first: the main cause. */
  readonly causes: readonly RssCause[];
  readonly advice: readonly RssAdvice[];
  readonly warnings: readonly string[];
}

export interface Quantiles {
  readonly p50: readonly (number | null)[];
  readonly p99: readonly (number | null)[];
  readonly max: readonly (number | null)[];
}

/** runtime/metrics over time, under Go's names; rates and quantiles are those since the time before. */
export interface RuntimeSeries {
  readonly times: readonly number[];
  readonly captures: readonly number[];
  readonly gauges: Readonly<Record<string, readonly (number | null)[]>>;
  readonly rates: Readonly<Record<string, readonly (number | null)[]>>;
  readonly quantiles: Readonly<Record<string, Quantiles>>;
}
