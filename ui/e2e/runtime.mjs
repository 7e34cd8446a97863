// The page of a target's runtime in a real Chromium, on a real Go program.
// Usage: runtime.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, openPage, run, start, until } from "./browser.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: runtime.mjs MEMSIGHT SHOP [SCREENSHOTS]");

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const store = mkdtempSync(join(tmpdir(), "memsight-e2e-runtime-"));
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  const server = start(memsight, ["serve", "--pid", String(shopProcess.pid), "--store", store, "--listen", "127.0.0.1:0",
    "--every", "1s"], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the server", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
  const [target] = await until("the target", async () => {
    const list = await api("/targets");
    return list.length && list;
  });
  const rss = await until("accounts", async () => {
    const found = await api(`/targets/${target.id}/rss`);
    return found.captures.length >= 3 && found;
  });
  await until("collections between readings", async () => {
    const { quantiles } = await api(`/targets/${target.id}/runtime`);
    return quantiles["/sched/pauses/total/gc:seconds"]?.p99.some((value) => value > 0);
  });
  await figures(api, target, rss, shopProcess.pid);

  const { page, errors } = await openPage(browser);
  await page.goto(`${base}/target/${target.id}`);
  await page.getByTestId("runtime").click();
  await page.getByTestId("parts").waitFor();
  // Every chart shows something.
  await until("drawn charts", () => page.getByTestId("chart").evaluateAll((all) => all.length >= 7 && all.every((canvas) => {
    if (!canvas.width || !canvas.height) return false;
    return new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size > 2;
  })));
  assert.match(await page.getByTestId("causes").textContent(), /objects that were alive|room until the next collection|code/);
  // One account of the past, as captures link to it.
  const id = rss.captures[0];
  const account = await api(`/captures/${id}/rss`);
  await page.goto(`${base}/target/${target.id}/runtime?rss=${id}`);
  await page.getByTestId("parts").waitFor();
  const rows = await page.getByTestId("parts").locator("tbody tr").count();
  assert.equal(rows, account.kinds.filter((kind) => kind.bytes > 0).length);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.reload();
    await page.getByTestId("parts").waitFor();
    if (screenshots) await page.screenshot({ path: join(screenshots, `runtime-${scheme}.png`), fullPage: true });
  }
  assert.deepEqual(errors, []);
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(store, { recursive: true });
  console.log("ok: resident memory over time, an account, runtime metrics, captures' links, dark mode");
  return 0;
}

/** What the API says is what the kernel says, and adds up. */
async function figures(api, target, rss, pid) {
  const last = rss.captures.at(-1);
  const account = await api(`/captures/${last}/rss`);
  const sum = account.kinds.reduce((total, kind) => total + kind.bytes, 0);
  assert.equal(sum, account.rss_bytes);
  assert.equal(sum, rss.kinds.reduce((total, { kind }) => total + rss.values[kind].at(-1), 0));
  const now = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
  assert(Math.abs(now - sum) < now / 2, `${sum} was resident, ${now} is`);
  assert(account.unattributed_bytes <= sum / 100, JSON.stringify(account));
  const { gauges, rates } = await api(`/targets/${target.id}/runtime`);
  assert(gauges["/gc/heap/live:bytes"].at(-1) > 1 << 20);
  assert(rates["/gc/heap/allocs:bytes"].at(-1) > 0);
  assert(rates["gc-share"].every((value) => value === null || (value >= 0 && value <= 1)));
}

await run(main);
