// Fetches call trees: the first page, and the pages of what it cut that are open.

import { getBytes } from "../../api";
import { type Columns, type Tree, childrenOf, decode, layout, splice } from "../../msf";
import { PathIds } from "../../pathid";
import type { State } from "./state";

/** Pages that a link can hold open. */
const OPEN_MAX = 24;
const ROOT_ID = "811c9dc5050c5d1f";

/** A part that was cut: below which node, and how many of its children were there already. */
interface Opened { readonly id: string; readonly skip: number }

export function opened(state: State): readonly Opened[] {
  const parts = state.get("open").split(",").filter((part) => /^[0-9a-f]{16}:\d+$/.test(part));
  return parts.slice(0, OPEN_MAX).map((part) => ({ id: part.slice(0, 16), skip: Number(part.slice(17)) }));
}

/** The address's list with one more, which is what `(other)` at this node stands for. */
export function withOpened(state: State, tree: Tree, other: number): string {
  const parent = tree.parent[other]!;
  const id = new PathIds(tree).of(parent) || ROOT_ID;
  const more = `${id}:${childrenOf(tree, parent).shown}`;
  return [...opened(state).map((part) => `${part.id}:${part.skip}`), more].slice(-OPEN_MAX).join(",");
}

/** An answer that was asked for before it was needed. */
let early: { readonly path: string; readonly bytes: Promise<ArrayBuffer> } | null = null;

/** Asks for a tree that will be wanted. */
export function prefetchTree(capture: number, state: State): void {
  const path = flamePath(capture, state, {}, []);
  const bytes = getBytes(path);
  // Whoever wants it learns that it failed.
  bytes.catch(() => undefined);
  early = { path, bytes };
}

function flamePath(capture: number, state: State, more: Readonly<Record<string, string>>, without: readonly string[]): string {
  const reverse: Record<string, string> = state.is("reverse") ? { reverse: "1" } : {};
  return `/captures/${capture}/flame${state.api({ ...reverse, ...more }, without)}`;
}

export async function fetchTree(capture: number, state: State, without: readonly string[] = []): Promise<Tree> {
  const page = async (more: Readonly<Record<string, string>>): Promise<Columns> => {
    const path = flamePath(capture, state, more, without);
    const asked = early?.path === path ? early.bytes : getBytes(path);
    if (early?.path === path) early = null;
    return decode(await asked);
  };
  const pages = opened(state);
  const [first, ...more] = await Promise.all([
    page({}),
    // A page that is gone, because the data is another, leaves its part cut.
    ...pages.map(({ id, skip }) => page({ root: id, skip: String(skip) }).catch(() => null)),
  ]);
  let tree = first;
  more.forEach((columns, index) => {
    const wanted = pages[index]!;
    const node = columns ? new PathIds(tree).find(wanted.id === ROOT_ID ? "" : wanted.id) : -1;
    if (!columns || node < 0) return;
    const { other, shown } = childrenOf(tree, node);
    if (other >= 0 && shown === wanted.skip) tree = splice(tree, other, columns);
  });
  return layout(tree);
}
