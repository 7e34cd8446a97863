// The part of the API that is about probes.

import type { Capture, Frame } from "./api";

export interface Estimate { readonly samples: number; readonly objects: number; readonly bytes: number; readonly bytes_error: number }

export interface Seen extends Capture { readonly target: number; readonly name: string }

/** A probe at work. */
export interface Run {
  readonly target: number;
  readonly name: string;
  readonly kind: "alloc" | "native";
  readonly reason: string;
  readonly began_ms: number;
  readonly seconds: number;
}

export interface Probes { readonly may_take: boolean; readonly at_work: readonly Run[]; readonly captures: readonly Seen[] }

/** Sums since the probe began. */
export interface Figures {
  readonly seconds: number;
  readonly allocated: Estimate | null;
  readonly live: Estimate | null;
  readonly seen: number;
  readonly losses: Readonly<Record<string, number>>;
  readonly cost_seconds: number;
}

export interface FoundSite {
  readonly site: Frame | null;
  readonly stack: readonly Frame[];
  readonly live: Estimate;
  readonly allocated: Estimate | null;
  readonly lifetime_median_seconds: number | null;
  readonly oldest_seconds: number | null;
}

export interface Picture {
  readonly seconds: number;
  readonly sampling_bytes: number;
  readonly live: Estimate;
  readonly sites: readonly FoundSite[];
  readonly omitted: number;
}

export interface SoFar extends Run { readonly figures: readonly Figures[]; readonly picture: Picture | null }
