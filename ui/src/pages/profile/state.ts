// What the page shows, all of it in the address: a link restores it.

/** Filters in the order of the pages; keys are those of the API. */
export const FILTERS = [
  { key: "f", label: "focus", title: "only stacks with a frame that matches" },
  { key: "i", label: "ignore", title: "no stacks with a frame that matches" },
  { key: "h", label: "hide", title: "stacks without the frames that match" },
  { key: "s", label: "show", title: "stacks with only the frames that match" },
  { key: "sf", label: "show from", title: "stacks from the first frame that matches" },
  { key: "prunefrom", label: "prune from", title: "stacks without what is below a frame that matches" },
  { key: "tf", label: "tag focus", title: "only samples with a tag that matches" },
  { key: "ti", label: "tag ignore", title: "no samples with a tag that matches" },
  { key: "ts", label: "tag show", title: "only these tag keys" },
  { key: "th", label: "tag hide", title: "without these tag keys" },
  { key: "tagroot", label: "tag root", title: "values of these tag keys as frames at the root" },
  { key: "tagleaf", label: "tag leaf", title: "values of these tag keys as frames at the leaf" },
  { key: "noinlines", label: "no inlines", title: "inlined calls belong to their callers" },
] as const;

export type FilterKey = (typeof FILTERS)[number]["key"];

export const VIEWS = ["both", "flame", "table", "sandwich", "graph", "tags", "source", "disasm", "side"] as const;
export type ViewName = (typeof VIEWS)[number];

/** Parameters that choose data: where one changes, positions in the data are void. */
const DATA_KEYS: readonly string[] = ["sample", "base", "reverse", ...FILTERS.map((filter) => filter.key)];
const POSITION_KEYS: readonly string[] = ["open", "graph"];

export class State {
  constructor(readonly query: URLSearchParams) {}

  get(key: string): string {
    return this.query.get(key) ?? "";
  }

  is(key: string): boolean {
    return this.get(key) === "1";
  }

  view(): ViewName {
    return VIEWS.find((name) => name === this.get("view")) ?? "both";
  }

  base(): number | undefined {
    const base = Number(this.get("base"));
    return this.get("base") !== "" && Number.isInteger(base) ? base : undefined;
  }

  /** With changes; the empty string removes a key. */
  with(changes: Readonly<Record<string, string>>): State {
    const query = new URLSearchParams(this.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    if (Object.keys(changes).some((key) => DATA_KEYS.includes(key))) POSITION_KEYS.forEach((key) => query.delete(key));
    return new State(query);
  }

  /** The query of an API call: what chooses the data, and more. */
  api(more: Readonly<Record<string, string>> = {}, without: readonly string[] = []): string {
    const query = new URLSearchParams(more);
    for (const key of DATA_KEYS) {
      const value = this.get(key);
      if (value && key !== "reverse" && !without.includes(key)) query.set(key, value);
    }
    const text = query.toString();
    return text ? `?${text}` : "";
  }
}

/** A pattern that matches this text and no other. */
export function exactly(text: string): string {
  return `^${quoted(text)}$`;
}

/** The text as part of a pattern, in the syntax that servers and browsers share. */
export function quoted(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** The pattern of a search; null for none, and what is wrong with it. */
export function searchPattern(text: string): { readonly pattern: RegExp | null; readonly error: string } {
  try {
    return { pattern: text ? new RegExp(text, "i") : null, error: "" };
  } catch {
    return { pattern: null, error: "not a regular expression" };
  }
}
