"use strict";
(function () {
  const svg = document.documentElement, LEFT = 10, WIDTH = 1180, LETTER = 6.7;
  const byId = (id) => document.getElementById(id);
  const frames = [...svg.querySelectorAll("g.f")].map((g) => {
    const rect = g.querySelector("rect"), title = g.querySelector("title").textContent;
    const number = (name) => parseFloat(g.getAttribute(name));
    return { g, rect, text: g.querySelector("text"), name: title.split("\n")[0], x: number("data-x"), w: number("data-w"), depth: number("data-d") };
  });
  const root = frames[0];
  function place(frame, x, pixels) {
    frame.g.style.display = "";
    frame.rect.setAttribute("x", x.toFixed(2));
    frame.rect.setAttribute("width", Math.max(pixels - 0.4, 0.2).toFixed(2));
    const room = Math.floor((pixels - 4) / LETTER);
    if (room < 3) { if (frame.text) frame.text.textContent = ""; return; }
    if (!frame.text) {
      frame.text = document.createElementNS(svg.namespaceURI, "text");
      frame.text.setAttribute("y", parseFloat(frame.rect.getAttribute("y")) + 12);
      frame.g.append(frame.text);
    }
    frame.text.setAttribute("x", (x + 3).toFixed(1));
    const letters = [...frame.name];
    frame.text.textContent = letters.length <= room ? frame.name : letters.slice(0, room - 1).join("") + "…";
  }
  function zoom(to) {
    const scale = WIDTH / to.w, end = to.x + to.w, tiny = 1e-3;
    for (const frame of frames) {
      const isCaller = frame.depth < to.depth && frame.x <= to.x + tiny && frame.x + frame.w >= end - tiny;
      const isInside = frame.depth >= to.depth && frame.x >= to.x - tiny && frame.x + frame.w <= end + tiny;
      frame.g.classList.toggle("caller", isCaller);
      if (isCaller) place(frame, LEFT, WIDTH);
      else if (isInside) place(frame, LEFT + (frame.x - to.x) * scale, frame.w * scale);
      else frame.g.style.display = "none";
    }
    byId("reset").style.display = to === root ? "none" : "";
  }
  function search(text) {
    let pattern = null;
    try { pattern = text ? new RegExp(text, "i") : null; } catch { byId("found").textContent = "not a regular expression"; return; }
    let width = 0;
    const outermost = [];
    for (const frame of frames) {
      const isFound = pattern !== null && pattern.test(frame.name);
      frame.g.classList.toggle("m", isFound);
      // Frames come callers first: what lies within a found one counts already.
      if (isFound && !outermost.some((o) => frame.x >= o.x - 1e-3 && frame.x + frame.w <= o.x + o.w + 1e-3)) { outermost.push(frame); width += frame.w; }
    }
    byId("found").textContent = pattern ? `found: ${(100 * width / root.w).toFixed(1)} % of the width` : "";
  }
  const ask = () => { const text = prompt("functions that match (regular expression)", ""); if (text !== null) search(text); };
  frames.forEach((frame) => frame.g.addEventListener("click", () => zoom(frame)));
  byId("reset").addEventListener("click", () => zoom(root));
  byId("search").addEventListener("click", ask);
  byId("search").style.display = "";
  addEventListener("keydown", (e) => {
    if (e.key === "Escape") { zoom(root); search(""); }
    else if (e.key === "/" || (e.key === "f" && (e.ctrlKey || e.metaKey))) { e.preventDefault(); ask(); }
  });
})();
