// The part of the API that is about the watch.

import { get, post } from "./api";

export interface Rule {
  readonly name: string;
  readonly enabled: boolean;
  readonly severity: string;
  readonly for_ms: number;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuleState {
  readonly rule: string;
  readonly target: number;
  readonly name: string;
  readonly phase: string;
  readonly reason: string;
  readonly since_ms: number | null;
}

export interface Rules { readonly rules: readonly Rule[]; readonly states: readonly RuleState[] }

export interface Act {
  readonly id: number;
  readonly time_ms: number;
  readonly rule: string;
  readonly target: number;
  readonly kind: string;
  readonly reason: string;
  readonly captures: readonly number[];
  readonly cpu_micros: number;
  readonly bytes: number;
  readonly error: string;
}

export interface Notification {
  readonly time_ms: number;
  readonly receiver: string;
  readonly integration: string;
  readonly firing: number;
  readonly resolved: number;
  readonly alerts: readonly string[];
  readonly status: string;
  readonly attempts: number;
  readonly error: string | null;
}

export interface Destination {
  readonly name: string;
  readonly protocol: string;
  readonly sent: number;
  readonly pending: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly delay_seconds: number | null;
  readonly failing: boolean;
  readonly error: string | null;
}

export interface LoggedEvent {
  readonly id: number;
  readonly time_ms: number;
  readonly kind: string;
  readonly level: string;
  readonly target: number | null;
  readonly message: string;
}

export interface Replay {
  readonly observations: number;
  readonly decisions: readonly { readonly time: string; readonly rule: string; readonly kind: string; readonly reason: string;
    readonly captures: readonly string[] }[];
}

export const rules = (target: number | null): Promise<Rules> => get(`/watch/rules${target === null ? "" : `?target=${target}`}`);
export const history = (target: number | null): Promise<readonly Act[]> =>
  get(`/watch/history?limit=100${target === null ? "" : `&target=${target}`}`);
export const notifications = (): Promise<readonly Notification[]> => get("/watch/notifications");
export const destinations = (): Promise<readonly Destination[]> => get("/watch/destinations");
export const events = (): Promise<readonly LoggedEvent[]> => get("/events/log?limit=50");
export const replay = (target: number): Promise<Replay> => get(`/watch/replay?target=${target}`);
export const call = (rule: string, target: number): Promise<unknown> =>
  post(`/watch/rules/${encodeURIComponent(rule)}/call?target=${target}`);
