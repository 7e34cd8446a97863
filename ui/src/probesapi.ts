// The part of the API that is about probes and processes.

import type { Capture, Frame } from "./api";

export interface Estimate { readonly samples: number; readonly objects: number; readonly bytes: number; readonly bytes_error: number }

export interface Seen extends Capture { readonly target: number; readonly name: string; readonly kind: Kind | "heap" }

export type Kind = "alloc" | "native" | "faults" | "mmap";

/** What each kind looks at, and what its profile shows. */
export const KINDS: Readonly<Record<Kind, { readonly what: string; readonly shows: string }>> = {
  alloc: { what: "Go objects", shows: "what lives" },
  native: { what: "malloc", shows: "what was not freed" },
  faults: { what: "page faults", shows: "who touched memory first" },
  mmap: { what: "mappings", shows: "what stays mapped" },
};

/** A probe at work. */
export interface Run {
  readonly target: number;
  readonly name: string;
  readonly kind: Kind;
  readonly reason: string;
  readonly began_ms: number;
  readonly seconds: number;
}

export interface Probes { readonly may_take: boolean; readonly at_work: readonly Run[]; readonly captures: readonly Seen[] }

/** Sums since the probe began. */
export interface Figures {
  readonly seconds: number;
  readonly allocated: Estimate | null;
  readonly deaths: number | null;
  readonly live: Estimate | null;
  readonly seen: number;
  readonly losses: Readonly<Record<string, number>>;
  readonly cost_seconds: number;
}

export interface FoundSite {
  readonly site: Frame | null;
  readonly stack: readonly Frame[];
  readonly live: Estimate;
  readonly allocated: Estimate;
  readonly freed_share: number;
  readonly lifetime_median_seconds: number | null;
  readonly oldest_seconds: number | null;
}

export interface Picture {
  readonly seconds: number;
  readonly sampling_bytes: number | null;
  readonly live: Estimate;
  readonly sites: readonly FoundSite[];
  readonly omitted: number;
}

export interface SoFar extends Run { readonly figures: readonly Figures[]; readonly picture: Picture | null }

export interface Life {
  readonly id: number;
  readonly pid: number;
  readonly parent: number | null;
  readonly parent_id: number | null;
  readonly name: string;
  readonly command: string;
  readonly started_ms: number;
  readonly ended_ms: number | null;
  readonly exit_code: number | null;
  readonly signal: number | null;
  readonly peak_rss_bytes: number | null;
  readonly programs: number;
  readonly oom_kill: boolean;
  readonly target: number | null;
}

export interface Lives {
  readonly since_ms: number | null;
  readonly off: string | null;
  readonly from_ms: number;
  readonly until_ms: number;
  readonly matching: number;
  readonly beginnings: readonly number[];
  readonly processes: readonly Life[];
  readonly omitted: {
    readonly dropped: number;
    readonly forgotten: number;
    readonly forgotten_until_ms: number | null;
    readonly not_entered: number;
    readonly unseen_ends: number;
  };
}
