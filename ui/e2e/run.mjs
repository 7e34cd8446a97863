// The pages in a real Chromium, against a real server that watches a real Go program
// and a pprof endpoint with 50,000 stacks. Usage: run.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawn, launch, openPage, run, start, until } from "./browser.mjs";
import { servePprof, syntheticProfile } from "./profile.mjs";
import { listings, paging, views } from "./views.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: run.mjs MEMSIGHT SHOP [SCREENSHOTS]");
const STACKS = 50_000;

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
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

  const { page, errors } = await openPage(browser);
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
  await page.getByTestId("sandwich").getByText("shop/session.(*Registry).Track").first().waitFor();
  await until("drawn callers", () => drawn(page, "callers"));
  await page.getByRole("button", { name: "flame", exact: true }).click();
  await page.getByTestId("flame").waitFor();
  await page.getByLabel("search").fill("session");
  await until("a search result", async () => /%/.test(await page.getByTestId("found").textContent()));
  assert.match(page.url(), /q=session/);
  await page.getByTestId("flame").click({ position: { x: 100, y: 45 } });
  await until("a zoom in the address", () => /z=[0-9a-f]{16}/.test(page.url()), 5);
  await shot("profile");
  // The address restores the view, also in dark mode.
  const address = page.url();
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(address);
  await page.getByTestId("flame").waitFor();
  assert.equal(await page.getByLabel("search").inputValue(), "session");
  await until("a drawn profile", () => drawn(page, "flame"));
  await shot("dark");

  // Every view, in light and dark.
  const heap = await heaps(shopTarget.id);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await listings(page, memsight, (name) => shot(`${name}-${scheme}`));
    await views(page, base, heap[0].id, heap[1].id, (name) => shot(`${name}-${scheme}`));
  }

  // 50,000 stacks: from navigation to pixels.
  const large = (await heaps(synthetic.id))[0];
  for (const view of ["flame", "table"]) {
    await page.goto(`${base}/capture/${large.id}?view=${view}`, { waitUntil: "commit" });
    await page.getByTestId(view === "flame" ? "flame" : "functions").waitFor();
    const millis = await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve(performance.now()))));
    console.log(`${STACKS} stacks: ${view} after ${Math.round(millis)} ms of page time`);
  }
  await paging(page, `${base}/capture/${large.id}`);
  await page.goto(`${base}/capture/999999`);
  await page.getByText("there is no capture 999999").waitFor();
  // The browser itself reports the answers to that and to the broken expression.
  const unexpected = errors.filter((text) => !/status of 40[04]/.test(text));
  assert.deepEqual(unexpected, []);
  await browser.close();
  pprof.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(store, { recursive: true });
  console.log("ok: overview, target, difference, table, sandwich, flame, search, zoom, address, views, pages, dark mode, errors");
  return 0;
}

await run(main);
