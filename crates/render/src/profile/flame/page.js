"use strict";
const head = {{head}};
const byId = (id) => document.getElementById(id);
const NONE = 0xffffffff, ROW = 19;

// The tree as it was written (MSF1): columns of numbers, then the names.
const bytes = Uint8Array.from(atob(byId("tree").textContent), (c) => c.charCodeAt(0));
const header = new DataView(bytes.buffer);
const n = header.getUint32(8, true), stringCount = header.getUint32(12, true);
const isDiff = (header.getUint32(20, true) & 1) === 1;
let at = 40;
const u32 = (k) => { const a = new Uint32Array(bytes.buffer.slice(at, at + 4 * k)); at += 4 * k; return a; };
const f64 = (k) => { const a = new Float64Array(bytes.buffer.slice(at, at + 8 * k)); at += 8 * k; return a; };
const parent = u32(n), name = u32(n), file = u32(n), line = u32(n);
at = Math.ceil(at / 8) * 8;
const own = f64(n), total = f64(n), base = isDiff ? f64(n) : new Float64Array(n);
const ends = u32(stringCount), decoder = new TextDecoder(), strings = [];
for (let i = 0, start = 0; i < stringCount; i++) {
  strings.push(decoder.decode(bytes.subarray(at + start, at + ends[i])));
  start = ends[i];
}
// The base's own share: what its children do not account for.
const ownBase = base.slice();
for (let i = 1; i < n; i++) ownBase[parent[i]] -= base[i];
const isSigned = isDiff || own.some((value) => value < 0);

// Nodes with the same function, file and line are the same frame.
const frameIds = new Uint32Array(n);
const known = new Map();
for (let i = 0; i < n; i++) {
  const key = `${name[i]} ${file[i]} ${line[i]}`;
  if (!known.has(key)) known.set(key, known.size);
  frameIds[i] = known.get(key);
}

// A tree under construction. A node is a frame (function, file, line) below a caller.
function draft() {
  return { parent: [NONE], frame: [-1], own: [0], base: [0], kids: [new Map()] };
}
function child(tree, node, frame) {
  const key = frameIds[frame];
  let next = tree.kids[node].get(key);
  if (next === undefined) {
    next = tree.parent.length;
    tree.kids[node].set(key, next);
    tree.parent.push(node); tree.frame.push(frame); tree.own.push(0); tree.base.push(0); tree.kids.push(new Map());
  }
  return next;
}
function endHere(tree, node, i) { tree.own[node] += own[i]; tree.base[node] += ownBase[i]; }

// Sums, widths and places. A node is as wide as the larger of its own value and base,
// without sign, and its children together: so they never exceed it.
function finish(tree, title) {
  const count = tree.parent.length;
  const sum = Float64Array.from(tree.own), sumBase = Float64Array.from(tree.base), width = new Float64Array(count);
  for (let i = count - 1; i >= 0; i--) {
    width[i] += Math.max(Math.abs(tree.own[i]), Math.abs(tree.base[i]));
    const p = tree.parent[i];
    if (p !== NONE) { sum[p] += sum[i]; sumBase[p] += sumBase[i]; width[p] += width[i]; }
  }
  const order = [], depth = new Uint32Array(count), x = new Float64Array(count), kids = [];
  const stack = [0];
  let rows = 0;
  while (stack.length) {
    const i = stack.pop();
    order.push(i);
    rows = Math.max(rows, depth[i] + 1);
    const children = [...tree.kids[i].values()].sort((a, b) => width[b] - width[a]);
    kids[i] = children;
    let next = x[i];
    for (const c of children) { depth[c] = depth[i] + 1; x[c] = next; next += width[c]; }
    for (let k = children.length - 1; k >= 0; k--) stack.push(children[k]);
  }
  return { title, frame: tree.frame, parent: tree.parent, own: tree.own, ownBase: tree.base, sum, base: sumBase, width, order, depth, x, kids, rows };
}
function pathOf(i) {
  const path = [];
  for (; i !== 0 && i !== NONE; i = parent[i]) path.push(i);
  return path; // innermost first
}
function treeOf(isReversed) {
  const tree = draft();
  for (let i = 0; i < n; i++) {
    if (!own[i] && !ownBase[i]) continue;
    const path = pathOf(i);
    if (!isReversed) path.reverse();
    endHere(tree, path.reduce((node, frame) => child(tree, node, frame), 0), i);
  }
  return finish(tree, "root");
}
// Every stack is cut at the outermost frame of the function, so that recursion counts once.
function sandwichOf(wanted) {
  const callers = draft(), callees = draft();
  for (let i = 0; i < n; i++) {
    if (!own[i] && !ownBase[i]) continue;
    const path = pathOf(i);
    let cut = -1;
    for (let k = path.length - 1; k >= 0 && cut < 0; k--) if (name[path[k]] === wanted) cut = k;
    if (cut < 0) continue;
    endHere(callers, path.slice(cut + 1).reduce((node, frame) => child(callers, node, frame), 0), i);
    endHere(callees, path.slice(0, cut).reverse().reduce((node, frame) => child(callees, node, frame), 0), i);
  }
  return [finish(callers, strings[wanted]), finish(callees, strings[wanted])];
}
function functionRows() {
  const rows = new Map();
  for (let i = 0; i < n; i++) {
    if (!own[i] && !ownBase[i]) continue;
    const value = own[i] - ownBase[i], seen = new Set();
    pathOf(i).forEach((frame, k) => {
      const id = name[frame];
      if (!rows.has(id)) rows.set(id, { id, flat: 0, cum: 0 });
      const row = rows.get(id);
      if (k === 0) row.flat += value;
      if (!seen.has(id)) { row.cum += value; seen.add(id); }
    });
  }
  return [...rows.values()].sort((a, b) => Math.abs(b.flat) - Math.abs(a.flat) || Math.abs(b.cum) - Math.abs(a.cum));
}

const unitText = (v) => {
  const a = Math.abs(v), sign = v < 0 ? "-" : "";
  if (head.unit === "bytes") {
    let i = 0, size = a;
    while (size >= 1023.5 && i < 6) { size /= 1024; i++; }
    return sign + (i ? size.toPrecision(size >= 1000 ? 4 : 3) : size) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][i];
  }
  if (head.unit === "nanoseconds") return sign + (a >= 1e9 ? (a / 1e9).toFixed(2) + " s" : a >= 1e6 ? (a / 1e6).toFixed(2) + " ms" : (a / 1e3).toFixed(2) + " us");
  return sign + a.toLocaleString("en") + (head.unit === "count" ? "" : " " + head.unit);
};
const share = (v) => (total[0] ? (100 * v / Math.abs(total[0])).toFixed(1) + " %" : "-");
const label = (tree, i) => (tree.frame[i] < 0 ? tree.title : strings[name[tree.frame[i]]]);

// One hue a package, so that a package's frames belong together.
const hues = strings.map((text) => {
  const plain = text.split("[")[0], dot = plain.indexOf(".", plain.lastIndexOf("/") + 1);
  let hash = 5381;
  for (const byte of new TextEncoder().encode(plain.slice(0, dot < 0 ? undefined : dot))) hash = (Math.imul(hash, 33) ^ byte) >>> 0;
  return hash % 360;
});
let isDark = matchMedia("(prefers-color-scheme: dark)").matches;
let matching = null, isInverted = head.inverted, isReversed = head.reverse, middle = -1, rows = null, panels = [], current = null;
function fill(tree, i) {
  const frame = tree.frame[i];
  if (matching && !(frame >= 0 && matching[name[frame]])) return isDark ? "#2a2f35" : "#e8eaec";
  if (isSigned) {
    const d = Math.max(-1, Math.min(1, (tree.sum[i] - tree.base[i]) / (tree.width[i] || 1)));
    if (Math.abs(d) < 1e-9) return isDark ? "#40464d" : "#dfe2e6";
    return `hsl(${d > 0 ? 5 : 215} ${40 + 30 * Math.abs(d)}% ${isDark ? 28 + 20 * Math.abs(d) : 92 - 30 * Math.abs(d)}%)`;
  }
  if (frame < 0) return isDark ? "#40464d" : "#dfe2e6";
  return `hsl(${hues[name[frame]]} ${isDark ? "38% 36%" : "58% 78%"})`;
}

// A panel draws one tree. Only what scrolls into view is drawn, so that deep stacks
// do not exceed what a browser allows a canvas.
function panel(tree, isFlipped) {
  const box = document.createElement("div"), space = document.createElement("div"), canvas = document.createElement("canvas");
  box.className = "panel"; space.className = "space"; canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `flame graph of ${tree.title}; arrow keys walk through its frames`);
  box.append(space, canvas);
  byId("panels").append(box);
  const self = { tree, isFlipped, box, space, canvas, zoom: 0, at: 0, hover: -1, shown: [] };
  box.onscroll = () => draw(self);
  canvas.onmousemove = (e) => { const i = hit(self, e); if (i !== self.hover) { self.hover = i; describe(self, i < 0 ? self.at : i); draw(self); } };
  canvas.onmouseleave = () => { self.hover = -1; describe(self, self.at); draw(self); };
  canvas.onclick = (e) => { const i = hit(self, e); if (i >= 0) { self.at = self.zoom = i; current = self; describe(self, i); draw(self); } };
  canvas.ondblclick = (e) => { const i = hit(self, e); if (i >= 0 && tree.frame[i] >= 0) showSandwich(name[tree.frame[i]]); };
  canvas.onfocus = () => { current = self; };
  return self;
}
function layout(self) {
  const height = self.tree.rows * ROW + 2;
  self.space.style.height = Math.max(height, self.box.clientHeight) + "px";
  if (self.isFlipped) self.box.scrollTop = height;
  draw(self);
}
function top0(self, depth) {
  const { tree, box, isFlipped } = self;
  const height = Math.max(tree.rows * ROW + 2, box.clientHeight);
  return (isFlipped ? height - (depth + 1) * ROW : depth * ROW) - box.scrollTop;
}
function draw(self) {
  const { tree, canvas, box, zoom } = self, ratio = devicePixelRatio || 1;
  const w = canvas.clientWidth, h = box.clientHeight, g = canvas.getContext("2d");
  canvas.style.height = h + "px";
  canvas.width = w * ratio; canvas.height = h * ratio;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.font = "12px ui-monospace,Menlo,Consolas,monospace";
  g.textBaseline = "middle";
  const start = tree.x[zoom], scale = w / (tree.width[zoom] || 1), above = new Set(), letter = g.measureText("m").width;
  for (let i = zoom; i !== NONE; i = tree.parent[i]) above.add(i);
  self.shown = [];
  for (const i of tree.order) {
    let x = (tree.x[i] - start) * scale, pixels = tree.width[i] * scale;
    if (above.has(i)) { x = 0; pixels = w; }
    const y = top0(self, tree.depth[i]);
    if (x + pixels <= 0 || x >= w || pixels < 0.3 || y + ROW < 0 || y > h) continue;
    if (x < 0) { pixels += x; x = 0; }
    pixels = Math.min(pixels, w - x);
    g.globalAlpha = above.has(i) && i !== zoom ? 0.55 : 1;
    g.fillStyle = fill(tree, i);
    g.fillRect(x, y, Math.max(pixels - 0.6, 0.3), ROW - 1);
    self.shown.push([x, y, pixels, i]);
    if (i === self.hover || (i === self.at && self.at !== 0)) {
      g.strokeStyle = isDark ? "#fff" : "#000";
      g.strokeRect(x + 0.5, y + 0.5, Math.max(pixels - 1.6, 1), ROW - 2);
    }
    const room = Math.floor((pixels - 6) / letter);
    if (room > 2) {
      const text = label(tree, i);
      g.fillStyle = isDark ? "#f2f4f6" : "#16191c";
      g.fillText(text.length <= room ? text : text.slice(0, room - 1) + "…", x + 3, y + ROW / 2);
    }
  }
  g.globalAlpha = 1;
}
function hit(self, e) {
  const area = self.canvas.getBoundingClientRect(), x = e.clientX - area.left, y = e.clientY - area.top;
  const found = self.shown.find(([fx, fy, fw]) => x >= fx && x < fx + fw && y >= fy && y < fy + ROW);
  return found ? found[3] : -1;
}
function describe(self, i) {
  const { tree } = self, frame = tree.frame[i], info = byId("info"), bold = document.createElement("b");
  bold.textContent = label(tree, i);
  const place = frame >= 0 && strings[file[frame]] ? `   ${strings[file[frame]]}:${line[frame]}` : "";
  const plus = (v) => (v > 0 ? "+" : "") + unitText(v);
  const before = isDiff ? `, ${unitText(tree.base[i])} before, ${plus(tree.sum[i] - tree.base[i])}` : "";
  const itself = isDiff ? plus(tree.own[i] - tree.ownBase[i]) : unitText(tree.own[i]);
  info.replaceChildren(bold, `${place}\n${unitText(tree.sum[i])} (${share(tree.sum[i])})${before}, ${itself} itself`);
}

function show() {
  byId("panels").replaceChildren();
  const pressed = (id, on) => byId(id).setAttribute("aria-pressed", on);
  pressed("invert", isInverted); pressed("reverse", isReversed); pressed("sandwich", middle >= 0);
  byId("list").hidden = middle < 0;
  if (middle >= 0) {
    const [callers, callees] = sandwichOf(middle);
    panels = [panel(callers, true), panel(callees, false)];
    list();
  } else {
    panels = [panel(treeOf(isReversed), isInverted)];
  }
  current = panels[panels.length - 1];
  panels.forEach(layout);
  describe(current, 0);
  search();
}
function showSandwich(wanted) { middle = wanted; show(); }
function list() {
  rows ??= functionRows();
  const table = document.createElement("table");
  const cells = (row, kind, texts) => texts.forEach((text) => { const cell = document.createElement(kind); cell.textContent = text; row.append(cell); });
  cells(table.insertRow(), "th", ["self", "total", "function"]);
  for (const row of rows.filter((row) => !matching || matching[row.id]).slice(0, 500)) {
    const line = table.insertRow();
    line.dataset.name = row.id;
    line.classList.toggle("on", row.id === middle);
    cells(line, "td", [unitText(row.flat), unitText(row.cum), strings[row.id]]);
    line.title = strings[row.id];
    line.onclick = () => showSandwich(row.id);
  }
  byId("list").replaceChildren(table);
}
function search() {
  const text = byId("q").value, found = byId("found"), tree = panels[0].tree;
  matching = null; found.textContent = "";
  if (text) {
    let pattern;
    try { pattern = new RegExp(text, "i"); } catch { found.textContent = "not a regular expression"; }
    if (pattern) {
      matching = strings.map((name) => pattern.test(name));
      let sum = 0, change = 0;
      const inside = new Set();
      for (const i of tree.order) {
        if (inside.has(tree.parent[i])) { inside.add(i); continue; }
        if (tree.frame[i] >= 0 && matching[name[tree.frame[i]]]) { inside.add(i); sum += tree.sum[i]; change += tree.sum[i] - tree.base[i]; }
      }
      found.textContent = isDiff ? `${change > 0 ? "+" : ""}${unitText(change)}` : `${unitText(sum)} (${share(sum)})`;
    }
  }
  if (middle >= 0) list();
  panels.forEach(draw);
}
function whole() {
  panels.forEach((self) => { self.zoom = self.at = 0; layout(self); });
  describe(current, 0);
}
function theme() {
  document.documentElement.classList.toggle("dark", isDark);
  byId("theme").textContent = isDark ? "light" : "dark";
  panels.forEach(draw);
}
// Arrow keys walk the tree as it is drawn.
function walk(key) {
  const self = current, { tree } = self, inner = self.isFlipped ? "ArrowUp" : "ArrowDown";
  let next = self.at;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const p = tree.parent[self.at];
    if (p !== NONE) next = tree.kids[p][tree.kids[p].indexOf(self.at) + (key === "ArrowRight" ? 1 : -1)] ?? next;
  } else if (key === inner) next = tree.kids[self.at][0] ?? next;
  else next = tree.parent[self.at] === NONE ? next : tree.parent[self.at];
  self.at = next;
  const y = top0(self, tree.depth[next]);
  if (y < 0 || y + ROW > self.box.clientHeight) self.box.scrollTop += y - self.box.clientHeight / 2;
  describe(self, next);
  draw(self);
}

byId("q").oninput = search;
byId("reset").onclick = () => { if (middle >= 0) { middle = -1; show(); } else whole(); };
byId("invert").onclick = () => { isInverted = !isInverted; middle = -1; show(); };
byId("reverse").onclick = () => { isReversed = !isReversed; middle = -1; show(); };
byId("sandwich").onclick = () => {
  if (middle >= 0) { middle = -1; show(); return; }
  const frame = current.tree.frame[current.at];
  rows ??= functionRows();
  if (frame >= 0) showSandwich(name[frame]); else if (rows.length) showSandwich(rows[0].id);
};
byId("theme").onclick = () => { isDark = !isDark; theme(); };
byId("help").onclick = () => byId("keys").showModal();
const keys = { i: "invert", r: "reverse", s: "sandwich", d: "theme", "?": "help", Escape: "reset" };
addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || byId("keys").open) return;
  if (e.target === byId("q")) { if (e.key === "Escape") { byId("q").value = ""; search(); byId("q").blur(); } return; }
  if (e.key === "/") byId("q").focus();
  else if (e.key.startsWith("Arrow")) walk(e.key);
  else if (e.key === "Enter" && e.target.tagName !== "BUTTON") { current.zoom = current.at; draw(current); }
  else if (keys[e.key]) byId(keys[e.key]).click();
  else return;
  e.preventDefault();
});
addEventListener("resize", () => panels.forEach(layout));
matchMedia("(prefers-color-scheme: dark)").onchange = (e) => { isDark = e.matches; theme(); };
byId("about").textContent = head.about;
byId("legend").hidden = !isSigned;
show();
theme();
