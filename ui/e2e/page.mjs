// What the page of a large profile costs: bytes on the wire, time to the first flame graph,
// frames per second while zooming and searching, and what a second load transfers.
// Usage: page.mjs MEMSIGHT PROFILE [--check]; with --check, exit 1 beyond the limits.
import assert from "node:assert/strict";
import { drawn, launch, servePages, stopAll, until } from "./browser.mjs";

const LIMITS = { wireBytes: 2 * 1024 * 1024, firstFlameMillis: 1000, framesPerSecond: 30, secondLoadBytes: 64 * 1024 };
const RUNS = 5;
const [memsight, profile, check] = process.argv.slice(2);
assert(memsight && profile, "usage: page.mjs MEMSIGHT PROFILE [--check]");
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Loads an address; resolves to what crossed the wire and when the first flame graph was drawn. */
async function load(page, url) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  const requests = new Map();
  session.on("Network.responseReceived", ({ requestId, response }) =>
    requests.set(requestId, { path: new URL(response.url).pathname, status: response.status, cached: response.fromDiskCache, bytes: 0 }));
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const request = requests.get(requestId);
    if (request) request.bytes = encodedDataLength;
  });
  await page.goto(url, { waitUntil: "commit" });
  const mark = () => page.evaluate(() => performance.getEntriesByName("flame drawn")[0]?.startTime ?? 0);
  const millis = await until("the first flame graph", mark);
  await page.getByTestId("functions").waitFor();
  // The stream of events stays open, so the network is never idle; the table came last.
  await page.waitForTimeout(500);
  // That stream carries nothing of the page.
  const all = [...requests.values()].filter(({ path }) => !path.endsWith("/events"));
  await session.detach();
  return { millis, requests: all, bytes: all.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Milliseconds between frames of the page while `act` runs. */
async function frames(page, act) {
  await page.evaluate(() => {
    globalThis.deltas = [];
    let last = performance.now();
    const tick = (now) => {
      globalThis.deltas.push(now - last);
      last = now;
      globalThis.ticking = requestAnimationFrame(tick);
    };
    globalThis.ticking = requestAnimationFrame(tick);
  });
  await act();
  const deltas = await page.evaluate(() => {
    cancelAnimationFrame(globalThis.ticking);
    return globalThis.deltas;
  });
  // The first is the wait for the first frame.
  return deltas.slice(1);
}

function rate(deltas) {
  const sorted = deltas.toSorted((a, b) => a - b);
  const mean = deltas.length / (deltas.reduce((sum, delta) => sum + delta, 0) / 1000);
  return { mean, slow: 1000 / sorted[Math.floor(sorted.length * 0.95)], count: deltas.length };
}

async function zoomInAndOut(page) {
  // Keys zoom as clicks do, and go to a depth whatever the profile looks like.
  await page.getByTestId("flame").focus();
  for (let round = 0; round < 3; round++) {
    for (let step = 0; step < 4; step++) {
      for (let down = 0; down < 3; down++) await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      await page.waitForTimeout(250);
    }
    await page.keyboard.press("Escape");
    await page.waitForTimeout(250);
  }
}

async function typeSearch(page) {
  const input = page.getByLabel("search", { exact: true });
  for (const text of ["func1", "handle", "a.*b", "x"]) {
    await input.fill("");
    await input.pressSequentially(text, { delay: 60 });
    await page.waitForTimeout(200);
  }
}

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const first = [];
  let second;
  const speeds = { zoom: [], search: [] };
  for (let run = 0; run < RUNS; run++) {
    // A server and a browser that know nothing yet.
    const { server, url } = await servePages(memsight, profile);
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    first.push(await load(page, url));
    await until("a drawn flame graph", () => drawn(page, "flame"));
    if (run < 3) {
      speeds.zoom.push(rate(await frames(page, () => zoomInAndOut(page))));
      speeds.search.push(rate(await frames(page, () => typeSearch(page))));
    }
    // A new page of the same browser: what is in its cache stays.
    const again = await context.newPage();
    second = await load(again, url);
    await context.close();
    server.kill("SIGTERM");
  }
  await browser.close();
  const figures = {
    wireBytes: median(first.map(({ bytes }) => bytes)),
    firstFlameMillis: median(first.map(({ millis }) => millis)),
    zoomFrames: median(speeds.zoom.map(({ mean }) => mean)),
    searchFrames: median(speeds.search.map(({ mean }) => mean)),
    secondLoadBytes: second.bytes,
  };
  const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
  console.log(`page on the wire:       ${kib(figures.wireBytes)} (${first[0].requests.map(({ path, bytes }) => `${path.split("/").at(-1)} ${kib(bytes)}`).join(", ")})`);
  console.log(`first flame graph:      ${figures.firstFlameMillis.toFixed(0)} ms of page time, median of ${RUNS} (${first.map(({ millis }) => millis.toFixed(0)).join(", ")})`);
  for (const what of ["zoom", "search"]) {
    const slow = median(speeds[what].map((speed) => speed.slow));
    console.log(`${what.padEnd(8)}                ${figures[`${what}Frames`].toFixed(1)} frames a second, 95 % of frames above ${slow.toFixed(1)}`);
  }
  console.log(`second load:            ${kib(figures.secondLoadBytes)}, first flame graph after ${second.millis.toFixed(0)} ms ` +
    `(${second.requests.map(({ path, status, cached }) => `${path.split("/").at(-1)} ${cached ? "cache" : status}`).join(", ")})`);
  const isWithin = figures.wireBytes <= LIMITS.wireBytes && figures.firstFlameMillis <= LIMITS.firstFlameMillis &&
    figures.zoomFrames > LIMITS.framesPerSecond && figures.searchFrames > LIMITS.framesPerSecond &&
    figures.secondLoadBytes <= LIMITS.secondLoadBytes;
  console.log(isWithin ? "within the limits" : `beyond the limits: ${JSON.stringify(LIMITS)}`);
  return check === "--check" && !isWithin ? 1 : 0;
}

let code = 1;
try {
  code = await main();
} finally {
  stopAll();
}
process.exit(code);
