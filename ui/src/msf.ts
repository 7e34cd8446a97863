// MSF1, the binary call tree of the API: columns that become typed arrays at once.
// The layout is documented at the server's writer, crates/render/src/profile/msf.rs.

export interface Tree {
  readonly count: number;
  readonly isDiff: boolean;
  readonly total: number;
  readonly baseTotal: number;
  readonly parent: Uint32Array;
  readonly name: Uint32Array;
  readonly file: Uint32Array;
  readonly line: Uint32Array;
  readonly self: Float64Array;
  readonly totals: Float64Array;
  readonly base: Float64Array;
  readonly strings: readonly string[];
  /** Width of each node: the larger of now and before. */
  readonly weight: Float64Array;
  readonly depth: Uint32Array;
  /** Left edge, in units of weight. */
  readonly start: Float64Array;
  readonly depthMax: number;
}

export const NO_PARENT = 0xffffffff;

export function decode(buffer: ArrayBuffer): Tree {
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
  return {
    count, isDiff, parent, name, file, line, self, totals, base, strings,
    total: view.getFloat64(24, true),
    baseTotal: view.getFloat64(32, true),
    ...layout(count, parent, totals, base),
  };
}

function layout(count: number, parent: Uint32Array, totals: Float64Array, base: Float64Array) {
  const weight = new Float64Array(count);
  const depth = new Uint32Array(count);
  const start = new Float64Array(count);
  const next = new Float64Array(count);
  let depthMax = 0;
  for (let i = 0; i < count; i++) {
    weight[i] = Math.max(Math.abs(totals[i]!), Math.abs(base[i]!));
    const p = parent[i]!;
    if (p !== NO_PARENT) {
      depth[i] = depth[p]! + 1;
      start[i] = next[p]!;
      next[p]! += weight[i]!;
    }
    next[i] = start[i]!;
    depthMax = Math.max(depthMax, depth[i]!);
  }
  return { weight, depth, start, depthMax };
}

/** Sum of the outermost nodes whose function matches. */
export function matchedTotal(tree: Tree, matches: readonly boolean[]): number {
  let sum = 0;
  let until = -1;
  for (let i = 0; i < tree.count; i++) {
    if (matches[tree.name[i]!] && tree.start[i]! >= until) {
      sum += tree.totals[i]!;
      until = tree.start[i]! + tree.weight[i]! * (1 - 1e-12);
    }
  }
  return sum;
}
