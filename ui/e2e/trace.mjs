// The page of an execution trace in a real Chromium: a trace of a real Go program, recorded by a
// click, and one with events about objects, that is sent. Usage: trace.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawn, launch, openPage, run, sleep, start, until } from "./browser.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: trace.mjs MEMSIGHT SHOP [SCREENSHOTS]");
/** What the shop's built-in load runs. */
const WORK = /main\.|net\/http|load/;

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const dir = mkdtempSync(join(tmpdir(), "memsight-e2e-trace-"));
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  const server = start(memsight, ["serve", "--pid", String(shopProcess.pid), "--store", join(dir, "store"), "--listen", "127.0.0.1:0",
    "--every", "30s", "--allow-traces"], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the server", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path, options) => (await fetch(`${base}/api/v1${path}`, options)).json();
  const [target] = await until("the target", async () => {
    const list = await api("/targets");
    return list.length && list;
  });

  const { page, errors } = await openPage(browser, 900);
  const shot = async (name) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `trace-${name}.png`) });
  };
  await page.goto(`${base}/target/${target.id}`);
  await page.getByTestId("record").click();
  await page.getByTestId("trace").waitFor({ timeout: 60_000 });
  const id = Number(/\/trace\/(\d+)/.exec(page.url())[1]);
  const trace = (path) => api(`/captures/${id}/trace/${path}`);

  await same(base, id, dir, trace);
  await timeline(page, base, id, trace, shot);
  await tables(page, base, id, trace, shot);
  const objects = await sendObjects(base, dir);
  await lifetimes(page, base, objects, shot);
  await mistakes(page, base, api, dir);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const view of ["timeline", "collections", "goroutines", "mmu", "tasks", "lifetimes"]) {
      await page.goto(`${base}/trace/${view === "lifetimes" || view === "tasks" ? objects : id}?view=${view}`);
      await page.getByTestId("view").locator("> *").first().waitFor();
      assert.equal(await page.getByTestId("failure").count(), 0, view);
      await shot(`${view}-${scheme}`);
    }
  }
  const unexpected = errors.filter((text) => !/status of 4(00|04|22)/.test(text));
  assert.deepEqual(unexpected, []);
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(dir, { recursive: true });
  console.log("ok: recording, timeline, zoom, goroutines' tracks, collections, goroutines, mmu, tasks, lifetimes, errors");
  return 0;
}

/** The page's figures are those of the command line, on the file that is downloaded. */
async function same(base, id, dir, trace) {
  const file = join(dir, "shop.trace");
  const bytes = Buffer.from(await (await fetch(`${base}/api/v1/captures/${id}/profile`)).arrayBuffer());
  writeFileSync(file, bytes);
  const command = (...args) => JSON.parse(execFileSync(memsight, ["trace", ...args, file, "--json"], { maxBuffer: 1 << 28 }));
  assert.deepEqual(await trace("summary"), command("summary"));
  assert.deepEqual(await trace("gc"), command("gc"));
  assert.deepEqual((await trace("goroutines?limit=5000")).functions, command("goroutines", "-n", "0").functions);
  // The page has fewer windows than the command.
  const { curve } = await trace("mmu");
  const windows = new Set(curve.map((point) => point.window_nanos));
  assert.deepEqual(curve, command("mmu").curve.filter((point) => windows.has(point.window_nanos)));
}

/** Sends a trace of a program that has tasks and regions, with events about its objects. */
async function sendObjects(base, dir) {
  const generator = join(dir, "generator");
  const cwd = join(import.meta.dirname, "../../crates/decode/tests/gotrace/generator");
  execFileSync("go", ["build", "-o", generator, "."], { cwd });
  const file = join(dir, "objects.trace");
  // Shrinking stacks break traces of objects now and then (docs/lifetimes.md).
  execFileSync(generator, [file, "500"], { env: { ...process.env, GODEBUG: "traceallocfree=1,gcshrinkstackoff=1" } });
  const sent = await fetch(`${base}/api/v1/traces?name=objects`, { method: "POST", body: readFileSync(file), headers: { origin: base } });
  const capture = await sent.json();
  assert.equal(capture.kind, "trace", JSON.stringify(capture));
  const lifetimes = await (await fetch(`${base}/api/v1/captures/${capture.id}/trace/lifetimes`)).json();
  const command = JSON.parse(execFileSync(memsight, ["trace", "lifetimes", file, "--json"], { maxBuffer: 1 << 28 }));
  assert.deepEqual(lifetimes.allocated, command.allocated);
  return capture.id;
}

async function timeline(page, base, id, trace, shot) {
  await until("a drawn timeline", () => drawn(page, "timeline"));
  const whole = await trace("timeline?pixels=1000");
  const summary = await trace("summary");
  assert.equal(whole.to, summary.duration_nanos);
  const procs = whole.tracks.filter((track) => track.name.startsWith("P "));
  assert.equal(procs.length, summary.procs);
  assert(procs.some((track) => track.slices.some(([, , name]) => WORK.test(whole.names[name]))), whole.names.join());
  // Slices of a track do not overlap, and are within the span.
  for (const { name, slices } of whole.tracks) {
    slices.reduce((end, [from, length]) => {
      assert(from >= end - 1, `${name}: ${from} is before ${end}`);
      return from + length;
    }, -1e9);
  }
  await shot("timeline");
  const box = await page.getByTestId("timeline").boundingBox();
  const at = (x, y) => [box.x + 100 + x * (box.width - 100), box.y + y];
  // What is under the pointer is named; a click follows the goroutine.
  const row = box.height - 14;
  let found = false;
  for (let i = 0; i < 80 && !found; i++) {
    // The rows of Ps are the last ones.
    await page.mouse.move(...at((i + 0.5) / 80, row - 22 * (i % procs.length)));
    found = /P \d+: .+\(goroutine \d+/.test(await page.getByTestId("info").textContent());
  }
  assert(found, await page.getByTestId("info").textContent());
  await page.mouse.down();
  await page.mouse.up();
  await until("the goroutine in the address", () => /[?&]g=\d+/.test(page.url()), 10);
  const taller = await until("its track", async () => {
    const { height } = await page.getByTestId("timeline").boundingBox();
    return height > box.height && height;
  }, 10);
  assert(taller > box.height);
  // Zooming by the wheel asks for a narrower span; the address tells it, and Back to all.
  await page.mouse.move(...at(0.5, 30));
  for (let i = 0; i < 8; i++) {
    await page.mouse.wheel(0, -400);
    await sleep(60);
  }
  await until("a zoom in the address", () => /from=\d+/.test(page.url()), 10);
  const range = () => page.getByTestId("range").textContent();
  const zoomed = await range();
  await page.keyboard.press("d");
  await until("it to move", async () => (await range()) !== zoomed, 10);
  await page.reload();
  await until("a drawn timeline", () => drawn(page, "timeline"));
  assert.match(page.url(), /from=\d+/);
  await shot("zoomed");
  await page.keyboard.press("0");
  await until("the whole again", () => !/from=/.test(page.url()), 10);
}

async function tables(page, base, id, trace, shot) {
  const { collections } = await trace("gc");
  await page.goto(`${base}/trace/${id}?view=collections`);
  const rows = page.getByTestId("collections").locator("tr[data-row]");
  await rows.first().waitFor();
  assert.equal(await rows.count(), Math.min(collections.length, 60));
  await shot("collections");
  await rows.first().getByRole("link").click();
  await until("the collection in the timeline", () => /from=\d+/.test(page.url()) && !/view=collections/.test(page.url()), 10);
  const { functions } = await trace("goroutines");
  await page.goto(`${base}/trace/${id}?view=goroutines&sort=count`);
  const most = functions.toSorted((a, b) => b.goroutines - a.goroutines)[0];
  const first = page.getByTestId("functions").locator("tr[data-row='0']");
  await first.waitFor();
  assert((await first.textContent()).includes(most.goroutines.toLocaleString("en")));
  await page.goto(`${base}/trace/${id}?view=mmu`);
  await until("a drawn curve", () => drawn(page, "mmu"));
  await page.keyboard.press("1");
  await page.getByTestId("timeline").waitFor();
}

async function lifetimes(page, base, id, shot) {
  const all = await (await fetch(`${base}/api/v1/captures/${id}/trace/lifetimes`)).json();
  await page.goto(`${base}/trace/${id}?view=lifetimes`);
  const first = page.getByTestId("lifetimes").locator("tr[data-row='0']");
  await first.waitFor();
  assert.equal(await first.locator("td").first().textContent(), all.types[0].type);
  assert((await page.getByTestId("totals").textContent()).includes(`allocated ${all.allocated.objects.toLocaleString("en")} objects`));
  await page.getByTestId("lifetimes").locator("tr[data-row='1']").getByRole("link").click();
  await until("its histogram", async () => (await page.getByTestId("lifetime").textContent()).startsWith(all.types[1].type), 5);
  await shot("lifetimes");
}

async function mistakes(page, base, api, dir) {
  const bad = await api("/traces", { method: "POST", body: "no trace at all", headers: { origin: base } });
  assert.match(bad.error, /not a Go execution trace/);
  // A trace that is cut is shown as far as it goes.
  const bytes = readFileSync(join(dir, "shop.trace"));
  const cut = await api("/traces?name=cut", { method: "POST", body: bytes.subarray(0, Math.floor(bytes.length * 0.7)), headers: { origin: base } });
  assert.equal(cut.kind, "trace", JSON.stringify(cut));
  await page.goto(`${base}/trace/${cut.id}`);
  await page.getByText(/cut off at offset \d+/).first().waitFor();
  await page.goto(`${base}/trace/999999`);
  await page.getByText("there is no capture 999999").waitFor();
}

await run(main);
