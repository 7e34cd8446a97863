// Colours of flame graphs: one hue a package; in differences red for more, blue for less.

import type { Tree } from "../msf";
import { OTHER } from "../msf";

export interface ColourOptions {
  readonly isDark: boolean;
  /** In differences: the share of each frame that changed, not of the largest change. */
  readonly relative: boolean;
  /** By string; what does not match is grey. */
  readonly matches: Uint8Array | null;
}

export function fillColours(colours: Uint32Array, tree: Tree, options: ColourOptions): void {
  const { isDark, matches } = options;
  const pale = isDark ? hsl(210, 10, 19) : hsl(210, 9, 91);
  const found = isDark ? hsl(312, 55, 48) : hsl(312, 75, 76);
  if (matches) {
    for (let i = 0; i < tree.count; i++) colours[i] = matches[tree.name[i]!] ? found : pale;
    return;
  }
  if (tree.isDiff) return fillChanges(colours, tree, options);
  const other = isDark ? hsl(210, 6, 32) : hsl(210, 8, 80);
  const palette = Uint32Array.from(tree.strings, (name) => {
    if (name === OTHER) return other;
    return isDark ? hsl(hue(name), 38, 36) : hsl(hue(name), 58, 76);
  });
  for (let i = 0; i < tree.count; i++) colours[i] = palette[tree.name[i]!]!;
}

const STEPS = 32;

function fillChanges(colours: Uint32Array, tree: Tree, { isDark, relative }: ColourOptions): void {
  const scale = (hueOf: number): number[] => Array.from({ length: STEPS + 1 }, (_, step) => {
    const share = step / STEPS;
    return hsl(hueOf, 70, isDark ? 24 + 34 * share : 95 - 38 * share);
  });
  const [more, less] = [scale(5), scale(215)];
  let largest = 1;
  for (let i = 1; i < tree.count; i++) largest = Math.max(largest, Math.abs(tree.totals[i]! - tree.base[i]!));
  for (let i = 0; i < tree.count; i++) {
    const delta = tree.totals[i]! - tree.base[i]!;
    const share = Math.min(1, Math.abs(delta) / (relative ? tree.weight[i]! || 1 : largest));
    colours[i] = (delta >= 0 ? more : less)[Math.round(share * STEPS)]!;
  }
}

/** Frames of one package belong together. */
function hue(name: string): number {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  const end = dot < 0 ? name.length : dot;
  let hash = 5381;
  for (let i = 0; i < end; i++) hash = (Math.imul(hash, 33) ^ name.charCodeAt(i)) >>> 0;
  return hash % 360;
}

/** A pixel as ImageData keeps it on machines with the low byte first. */
function hsl(h: number, s: number, l: number): number {
  const [saturation, light] = [s / 100, l / 100];
  const part = (n: number): number => {
    const k = (n + h / 30) % 12;
    const value = light - saturation * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(255 * value);
  };
  return (0xff000000 | (part(4) << 16) | (part(8) << 8) | part(0)) >>> 0;
}
