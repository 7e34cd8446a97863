// MSF1, the binary call tree of the API: columns that become typed arrays at once.
// The layout is documented at the server's writer, crates/render/src/profile/msf.rs.

import type { TreeNode } from "./api";

/** Columns of nodes in preorder. */
export interface Columns {
  readonly count: number;
  readonly parent: Uint32Array;
  readonly name: Uint32Array;
  readonly file: Uint32Array;
  readonly line: Uint32Array;
  readonly self: Float64Array;
  readonly totals: Float64Array;
  readonly base: Float64Array;
  readonly strings: readonly string[];
  readonly isDiff: boolean;
  readonly total: number;
  readonly baseTotal: number;
}

export interface Tree extends Columns {
  /** Width of each node: the larger of now and before, and never less than its children. */
  readonly weight: Float64Array;
  readonly depth: Uint32Array;
  /** Left edge, in units of weight. */
  readonly start: Float64Array;
  readonly depthMax: number;
  /** Nodes from left to right, one depth after the other. */
  readonly rows: Uint32Array;
  /** Where each depth begins in `rows`; one more than there are depths. */
  readonly rowStart: Uint32Array;
}

export const NO_PARENT = 0xffffffff;
/** What the server calls the rest of a node that it cut. */
export const OTHER = "(other)";

export function decode(buffer: ArrayBuffer): Columns {
  const view = new DataView(buffer);
  if (buffer.byteLength < 40 || view.getUint32(0, false) !== 0x4d534631 || view.getUint32(4, true) !== 1) {
    throw new Error("the server sent no MSF1 tree");
  }
  const count = view.getUint32(8, true);
  const stringCount = view.getUint32(12, true);
  const isDiff = (view.getUint32(20, true) & 1) === 1;
  let at = 40;
  const words = (length: number): Uint32Array => {
    const column = new Uint32Array(buffer, at, length);
    at += 4 * length;
    return column;
  };
  const floats = (length: number): Float64Array => {
    const column = new Float64Array(buffer, at, length);
    at += 8 * length;
    return column;
  };
  const [parent, name, file, line] = [words(count), words(count), words(count), words(count)];
  at = Math.ceil(at / 8) * 8;
  const [self, totals] = [floats(count), floats(count)];
  const base = isDiff ? floats(count) : new Float64Array(count);
  const ends = words(stringCount);
  const decoder = new TextDecoder();
  const text = new Uint8Array(buffer, at);
  const strings: string[] = [];
  let start = 0;
  for (const end of ends) {
    strings.push(decoder.decode(text.subarray(start, end)));
    start = end;
  }
  const [total, baseTotal] = [view.getFloat64(24, true), view.getFloat64(32, true)];
  return { count, isDiff, parent, name, file, line, self, totals, base, strings, total, baseTotal };
}

/** Columns of a tree that came as JSON, which only small ones do. */
export function fromNodes(root: TreeNode, isDiff: boolean): Columns {
  const names = new Map<string, number>();
  const id = (text: string): number => {
    const known = names.get(text) ?? names.size;
    names.set(text, known);
    return known;
  };
  const rows: number[][] = [];
  const open: (readonly [TreeNode, number])[] = [[root, NO_PARENT]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [node, parent] = next;
    const at = rows.length;
    rows.push([parent, id(node.name), id(node.file), node.line, node.self, node.value, node.base]);
    for (const child of node.children.toReversed()) open.push([child, at]);
  }
  const words = (column: number): Uint32Array => Uint32Array.from(rows, (row) => row[column]!);
  const floats = (column: number): Float64Array => Float64Array.from(rows, (row) => row[column]!);
  return {
    count: rows.length, isDiff, strings: [...names.keys()], total: root.value, baseTotal: root.base,
    parent: words(0), name: words(1), file: words(2), line: words(3), self: floats(4), totals: floats(5), base: floats(6),
  };
}

/** The child that stands for what was cut of a node, or -1; and how many others it has. */
export function childrenOf(tree: Columns, node: number): { readonly other: number; readonly shown: number } {
  let [other, shown] = [-1, 0];
  // Preorder: a parent before the node means that its subtree is over.
  for (let i = node + 1; i < tree.count && tree.parent[i]! >= node; i++) {
    if (tree.parent[i] !== node) continue;
    if (tree.strings[tree.name[i]!] === OTHER) other = i;
    else shown += 1;
  }
  return { other, shown };
}

/** The tree with the leaf at `node` replaced by the children of a page's root. */
export function splice(tree: Columns, node: number, page: Columns): Columns {
  const known = new Map(tree.strings.map((text, index) => [text, index]));
  const strings = [...tree.strings];
  const ids = Uint32Array.from(page.strings, (text) => known.get(text) ?? strings.push(text) - 1);
  const added = page.count - 1;
  const count = tree.count + added - 1;
  const join = <T extends Uint32Array | Float64Array>(into: T, from: T, of: T, map: (value: number) => number): T => {
    into.set(from.subarray(0, node));
    for (let i = 0; i < added; i++) into[node + i] = map(of[i + 1]!);
    into.set(from.subarray(node + 1), node + added);
    return into;
  };
  const same = (value: number): number => value;
  const above = tree.parent[node]!;
  const words = (key: "parent" | "name" | "file" | "line", map: (value: number) => number): Uint32Array =>
    join(new Uint32Array(count), tree[key], page[key], map);
  const floats = (key: "self" | "totals" | "base"): Float64Array => join(new Float64Array(count), tree[key], page[key], same);
  const parent = words("parent", (value) => (value === 0 ? above : value - 1 + node));
  for (let i = node + added; i < count; i++) if (parent[i]! > node) parent[i]! += added - 1;
  return {
    ...tree, count, parent, strings,
    name: words("name", (value) => ids[value]!), file: words("file", (value) => ids[value]!), line: words("line", same),
    self: floats("self"), totals: floats("totals"), base: floats("base"),
  };
}

/** Places the nodes. */
export function layout(columns: Columns): Tree {
  const { count, parent, totals, base } = columns;
  const weight = new Float64Array(count);
  const inside = new Float64Array(count);
  for (let i = count - 1; i >= 0; i--) {
    // Children that grew and shrank, or are negative, may need more room than their parent's own value.
    weight[i] = Math.max(Math.abs(totals[i]!), Math.abs(base[i]!), inside[i]!);
    if (parent[i] !== NO_PARENT) inside[parent[i]!]! += weight[i]!;
  }
  const depth = new Uint32Array(count);
  const start = new Float64Array(count);
  const next = inside;
  let depthMax = 0;
  for (let i = 0; i < count; i++) {
    const p = parent[i]!;
    if (p !== NO_PARENT) {
      depth[i] = depth[p]! + 1;
      start[i] = next[p]!;
      next[p]! += weight[i]!;
    }
    next[i] = start[i]!;
    depthMax = Math.max(depthMax, depth[i]!);
  }
  const rowStart = new Uint32Array(depthMax + 2);
  for (let i = 0; i < count; i++) rowStart[depth[i]! + 1]! += 1;
  for (let d = 0; d <= depthMax; d++) rowStart[d + 1]! += rowStart[d]!;
  const rows = new Uint32Array(count);
  const fill = rowStart.slice();
  for (let i = 0; i < count; i++) rows[fill[depth[i]!]!++] = i;
  return { ...columns, weight, depth, start, depthMax, rows, rowStart };
}

/** Outermost nodes whose function matches: how many nodes match at all, and the sum. */
export function matched(tree: Tree, matches: Uint8Array): { readonly nodes: number; readonly sum: number } {
  let [nodes, sum, until] = [0, 0, -1];
  for (let i = 0; i < tree.count; i++) {
    if (!matches[tree.name[i]!]) continue;
    nodes += 1;
    if (tree.start[i]! < until) continue;
    sum += tree.totals[i]!;
    until = tree.start[i]! + tree.weight[i]! * (1 - 1e-12);
  }
  return { nodes, sum };
}
