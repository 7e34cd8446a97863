// Names of nodes by the frames that lead to them, as the server makes them
// (crates/analyze/src/report/path_id.rs): the same in every tree that has the node.

import { type Columns, NO_PARENT } from "./msf";

const LANES = [0x811c9dc5, 0x050c5d1f] as const;

export class PathIds {
  private readonly hashes = new Map<number, readonly [number, number]>();
  private readonly encoder = new TextEncoder();

  constructor(private readonly tree: Columns) {}

  /** 16 hexadecimal digits; the root's is the empty string. */
  of(node: number): string {
    const path: number[] = [];
    for (let at = node; this.tree.parent[at] !== NO_PARENT; at = this.tree.parent[at]!) path.push(at);
    if (path.length === 0) return "";
    let [a, b]: readonly [number, number] = LANES;
    for (const at of path.reverse()) [a, b] = this.child(a, b, at);
    return digits(a) + digits(b);
  }

  /** The node of that name, or -1. */
  find(id: string): number {
    if (id === "") return 0;
    const { tree } = this;
    const [wantA, wantB] = [Number.parseInt(id.slice(0, 8), 16), Number.parseInt(id.slice(8), 16)];
    const [a, b] = [new Uint32Array(tree.count), new Uint32Array(tree.count)];
    [a[0], b[0]] = LANES;
    for (let i = 1; i < tree.count; i++) {
      const p = tree.parent[i]!;
      [a[i], b[i]] = this.child(a[p]!, b[p]!, i);
      if (a[i] === wantA && b[i] === wantB) return i;
    }
    return -1;
  }

  private child(a: number, b: number, node: number): readonly [number, number] {
    const [name, file] = [this.hash(this.tree.name[node]!), this.hash(this.tree.file[node]!)];
    const line = this.tree.line[node]!;
    return [mix(a, mix(mix(name[0], file[0]), line)), mix(b, mix(mix(name[1], file[1]), line))];
  }

  private hash(string: number): readonly [number, number] {
    const known = this.hashes.get(string);
    if (known) return known;
    let [a, b]: readonly [number, number] = LANES;
    for (const byte of this.encoder.encode(this.tree.strings[string]!)) {
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b ^ byte, 0x01000193);
    }
    const made = [a >>> 0, b >>> 0] as const;
    this.hashes.set(string, made);
    return made;
  }
}

function mix(a: number, b: number): number {
  const product = Math.imul(((a << 13) | (a >>> 19)) ^ b, 0x9e3779b1);
  return (product ^ (product >>> 15)) >>> 0;
}

function digits(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
