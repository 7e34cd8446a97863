// The pages in a real Chromium, against a real server that watches a real Go program
// and a pprof endpoint with 50,000 stacks. Usage: run.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { servePprof, syntheticProfile } from "./profile.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: run.mjs MEMSIGHT SHOP [SCREENSHOTS]");
const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!browserPath) {
  console.log("skipped: no Chromium on this machine (apt-get install chromium)");
  process.exit(process.env.REQUIRE_CHROMIUM ? 1 : 0);
}
const STACKS = 50_000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = [];
const start = (file, args, options) => {
  const child = spawn(file, args, options);
  children.push(child);
  return child;
};

async function until(what, check, seconds = 60) {
  for (let i = 0; i < seconds * 4; i++) {
    const value = await check();
    if (value) return value;
    await sleep(250);
  }
  throw new Error(`gave up waiting for ${what}`);
}

async function main() {
  const store = mkdtempSync(join(tmpdir(), "memsight-e2e-"));
  const pprof = await servePprof([syntheticProfile(STACKS)]);
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  const server = start(memsight, ["serve", "--pid", String(shopProcess.pid), "--url", pprof.url, "--store", store,
    "--listen", "127.0.0.1:0", "--every", "2s"], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the server", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
  const targets = await until("both targets", async () => {
    const list = await api("/targets");
    return list.length === 2 && list;
  });
  const shopTarget = targets.find((target) => target.name === "shop");
  const synthetic = targets.find((target) => target !== shopTarget);
  const heaps = (id) => api(`/targets/${id}/captures?kind=heap`);
  await until("three heap profiles", async () => (await heaps(shopTarget.id)).length >= 3);
  await until("the synthetic profile", async () => (await heaps(synthetic.id)).length >= 1);
  if (screenshots) await until("a verdict", async () => (await api(`/targets/${shopTarget.id}`)).leak, 120);

  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  const shot = async (name) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`) });
  };

  // Overview, by clicks to the target, to two captures, to their difference.
  await page.goto(base);
  await page.getByTestId("targets").getByText("shop").first().waitFor();
  await shot("overview");
  await page.getByRole("link", { name: "shop" }).first().click();
  await page.getByTestId("captures").getByText("heap").first().waitFor();
  await until("a drawn timeline", () => drawn(page, "chart"));
  await shot("target");
  const rows = page.getByTestId("captures").locator("tbody tr").filter({ hasText: "heap" });
  await rows.first().getByRole("checkbox").check();
  await rows.last().getByRole("checkbox").check();
  await page.getByTestId("compare").click();
  await page.getByTestId("flame").waitFor();
  assert.match(page.url(), /\/capture\/\d+\?base=\d+/);
  await until("a drawn difference", () => drawn(page, "flame"));
  await shot("diff");
  await page.getByRole("button", { name: "relative" }).click();
  assert.match(page.url(), /relative=1/);
  await page.getByRole("button", { name: "table" }).click();
  await page.getByTestId("functions").getByText("change", { exact: true }).waitFor();
  // Back to one profile.
  await page.getByTestId("base").selectOption("");
  await page.getByTestId("functions").getByText("flat %").waitFor();
  await page.getByTestId("functions").getByText("shop/session.(*Registry).Track").first().click();
  await page.getByTestId("sandwich").getByText("main.(*shop).product").first().waitFor();
  await page.getByRole("button", { name: "flame" }).click();
  await page.getByTestId("flame").waitFor();
  await page.getByLabel("search").fill("session");
  await until("a search result", async () => /%/.test(await page.getByTestId("found").textContent()));
  assert.match(page.url(), /q=session/);
  await page.getByTestId("flame").click({ position: { x: 100, y: 45 } });
  await until("a zoom in the address", () => /z=\d+/.test(page.url()), 5);
  await shot("profile");
  // The address restores the view, also in dark mode.
  const address = page.url();
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(address);
  await page.getByTestId("flame").waitFor();
  assert.equal(await page.getByLabel("search").inputValue(), "session");
  await until("a drawn profile", () => drawn(page, "flame"));
  await shot("dark");

  // 50,000 stacks: from navigation to pixels.
  const large = (await heaps(synthetic.id))[0];
  for (const view of ["flame", "table"]) {
    await page.goto(`${base}/capture/${large.id}?view=${view}`, { waitUntil: "commit" });
    await page.getByTestId(view === "flame" ? "flame" : "functions").waitFor();
    const millis = await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve(performance.now()))));
    console.log(`${STACKS} stacks: ${view} after ${Math.round(millis)} ms of page time`);
  }
  await page.goto(`${base}/capture/999999`);
  await page.getByText("there is no capture 999999").waitFor();
  // The browser reports the 404 of that last step itself.
  const unexpected = errors.filter((text) => !text.includes("404"));
  assert.deepEqual(unexpected, []);
  await browser.close();
  pprof.close();
  server.kill("SIGTERM");
  const code = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(code, 0, log);
  rmSync(store, { recursive: true });
  console.log("ok: overview, target, difference, table, sandwich, flame, search, zoom, address, dark mode, errors");
}

/** Whether a canvas shows more than one colour. */
function drawn(page, testId) {
  return page.getByTestId(testId).first().evaluate((canvas) => {
    if (!canvas.width || !canvas.height) return false;
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(pixels).size > 2;
  });
}

const timeout = setTimeout(() => {
  console.error("gave up after 5 minutes");
  children.forEach((child) => child.kill("SIGKILL"));
  process.exit(1);
}, 300_000);
try {
  await main();
} finally {
  clearTimeout(timeout);
  children.forEach((child) => child.kill("SIGKILL"));
}
