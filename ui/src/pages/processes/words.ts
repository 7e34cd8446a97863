// A process in words, and the order they stand in.

import { span } from "../../format";
import type { Life } from "../../probesapi";

const SIGNALS: Readonly<Record<number, string>> = {
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE",
  14: "SIGALRM", 15: "SIGTERM",
};

/** How it ended. */
export function end(life: Life): string {
  if (life.oom_kill) return "OOM kill";
  if (life.ended_ms === null) return "lives";
  if (life.signal !== null) return SIGNALS[life.signal] ?? `signal ${life.signal}`;
  return life.exit_code === null ? "ended" : `exit ${life.exit_code}`;
}

/** It did not end as it should. */
export function isBad(life: Life): boolean {
  return life.oom_kill || life.signal !== null || (life.exit_code ?? 0) !== 0;
}

export function lived(life: Life, now: number): string {
  return span(Math.max(0, (life.ended_ms ?? now) - life.started_ms) / 1000);
}

export type Order = "family" | "start" | "peak";

export interface Row { readonly life: Life; readonly depth: number }

/** Rows from top to bottom: children below their parents, or all by when they began or by their peak. */
export function ordered(lives: readonly Life[], order: Order): readonly Row[] {
  if (order === "start") return lives.map((life) => ({ life, depth: 0 }));
  if (order === "peak") {
    return lives.toSorted((a, b) => (b.peak_rss_bytes ?? 0) - (a.peak_rss_bytes ?? 0)).map((life) => ({ life, depth: 0 }));
  }
  const known = new Set(lives.map(({ id }) => id));
  const children = new Map<number | null, Life[]>();
  for (const life of lives) {
    const parent = life.parent_id !== null && known.has(life.parent_id) ? life.parent_id : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(life);
    else children.set(parent, [life]);
  }
  const rows: Row[] = [];
  // By hand, as families may be deep. They come by when they began, and leave the stack last first.
  const open: Row[] = (children.get(null) ?? []).toReversed().map((life) => ({ life, depth: 0 }));
  for (let next = open.pop(); next; next = open.pop()) {
    rows.push(next);
    const depth = next.depth + 1;
    for (const life of (children.get(next.life.id) ?? []).toReversed()) open.push({ life, depth });
  }
  return rows;
}
