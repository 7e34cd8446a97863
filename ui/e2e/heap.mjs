// The heap page in a real Chromium, on object graphs of a real Go program that leaks, taken
// while it ran. Usage: heap.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawn, launch, openPage, run, sleep, start, until } from "./browser.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: heap.mjs MEMSIGHT SHOP [SCREENSHOTS]");
/** The planted leak: the registry's trail of events. */
const LEAKED = "session.Event";
const EXACTLY = "^session\\.Event$";

function size(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB"];
  let [scaled, unit] = [value / 1024, 0];
  while (scaled >= 1023.5) {
    scaled /= 1024;
    unit += 1;
  }
  return `${scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0)} ${units[unit]}`;
}

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const store = mkdtempSync(join(tmpdir(), "memsight-e2e-heap-"));
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  const server = start(memsight, ["serve", "--pid", String(shopProcess.pid), "--store", store, "--listen", "127.0.0.1:0",
    "--every", "5s", "--allow-snapshots"], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the server", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path, options) => (await fetch(`${base}/api/v1${path}`, options)).json();
  const [target] = await until("the target", async () => {
    const list = await api("/targets");
    return list.length && list;
  });
  const first = await api(`/targets/${target.id}/graph`, { method: "POST" });
  if (/CAP_SYS_PTRACE/.test(JSON.stringify(first))) {
    console.log(`skipped: no permission to take a snapshot (${first.error})`);
    return 0;
  }
  assert.equal(first.kind, "graph", JSON.stringify(first));
  await sleep(6000);

  const { page, errors } = await openPage(browser);
  const shot = async (name) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `heap-${name}.png`) });
  };

  // The second snapshot is taken from the target's page.
  await page.goto(`${base}/target/${target.id}`);
  await page.getByTestId("snapshot").click();
  await page.getByTestId("heap").waitFor();
  const id = Number(/\/heap\/(\d+)/.exec(page.url())[1]);
  assert.notEqual(id, first.id);
  const heap = (path) => api(`/captures/${id}/heap/${path}`);
  const summary = await heap("summary");
  assert.match(await page.getByTestId("summary").textContent(), new RegExp(`${size(summary.live_bytes)} live`.replaceAll(".", "\\.")));

  await types(page, heap, shot);
  await dominators(page, base, id, heap, shot);
  await treemap(page, base, id, shot);
  await why(page, base, id, heap, shot);
  await goroutines(page, base, id, heap, shot);
  await search(page, base, id, heap);
  await changes(page, base, id, first.id, heap, shot);
  await themes(page, base, id, shot);
  await mistakes(page, base, id);

  const unexpected = errors.filter((text) => !/status of 40[04]/.test(text));
  assert.deepEqual(unexpected, []);
  const status = readFileSync(`/proc/${shopProcess.pid}/status`, "utf8");
  assert.match(status, /TracerPid:\t0\n/, "the program runs on by itself");
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(store, { recursive: true });
  console.log("ok: snapshot, types, dominators, treemap, why, goroutines, search, changes, address, dark mode, errors");
  return 0;
}

/** What the table shows is what the API says, in either order. */
async function types(page, heap, shot) {
  const table = page.getByTestId("types");
  await table.locator("tr[data-row]").first().waitFor();
  const cells = async () => (await table.locator("tr[data-row='0'] td").allTextContents());
  for (const [sort, head] of [["retained", "retained"], ["objects", "objects"], ["bytes", "bytes"]]) {
    const { rows: [row] } = await heap(`types?sort=${sort}&limit=1`);
    await table.locator("th").filter({ hasText: new RegExp(`^${head}$`) }).click();
    const [objects, bytes, retained, , name] = await cells();
    assert.deepEqual([objects, bytes, retained], [row.objects.toLocaleString("en"), size(row.bytes), size(row.retained_bytes)], `${sort}: ${name}`);
  }
  await page.getByLabel("filter types").fill(EXACTLY);
  await until("the filtered types", async () => (await page.getByTestId("found").textContent()).startsWith("1 type"), 5);
  assert.match(page.url(), /q=%5Esession/);
  const { rows: [event] } = await heap(`types?q=${encodeURIComponent(EXACTLY)}`);
  const [objects, bytes, retained, , name] = await cells();
  assert.deepEqual([objects, bytes, retained, name], [event.objects.toLocaleString("en"), size(event.bytes), size(event.retained_bytes), event.type]);
  await shot("types");
  await table.getByRole("link", { name: event.type }).click();
  await page.getByTestId("objects").locator("tr[data-row]").first().waitFor();
  assert.match(await page.getByTestId("found").textContent(), new RegExp(`^${event.objects.toLocaleString("en")} objects, `));
}

async function dominators(page, base, id, heap, shot) {
  await page.goto(`${base}/heap/${id}?view=dominators`);
  const tree = page.getByTestId("dominators");
  const rows = tree.getByRole("treeitem");
  await rows.first().waitFor();
  const top = (await heap("dominators?limit=100")).rows;
  const largest = top.findIndex((row) => row.has_children);
  const before = await rows.count();
  await tree.focus();
  for (let i = 0; i < largest; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await until("children", async () => (await rows.nth(largest).getAttribute("aria-expanded")) === "true", 10);
  const below = (await heap(`dominators?node=${top[largest].node}&limit=1`)).rows[0];
  const child = rows.nth(largest + 1);
  assert.equal(await child.getAttribute("aria-level"), "2");
  const cells = await child.locator("td").allTextContents();
  assert(cells[0].includes(below.name) && cells[1] === size(below.retained_bytes), `${cells} is not ${JSON.stringify(below)}`);
  assert((await rows.count()) >= Math.min(before, 30));
  // The address opens the same branches.
  assert.match(page.url(), /open=/);
  await page.reload();
  await until("the open branch", async () => (await rows.nth(largest).getAttribute("aria-expanded")) === "true", 10);
  await shot("dominators");
  await page.getByRole("button", { name: "grouped by type" }).click();
  await until("groups", async () => (await rows.first().textContent()).includes("×"), 10);
  const [group] = (await heap("dominators?group=type&limit=1")).rows;
  assert.equal((await rows.first().locator("td").allTextContents())[1], size(group.retained_bytes));
}

async function treemap(page, base, id, shot) {
  await page.goto(`${base}/heap/${id}?view=treemap`);
  await page.getByTestId("treemap").waitFor();
  await until("a drawn map", () => drawn(page, "treemap"));
  await page.getByTestId("treemap").hover({ position: { x: 30, y: 60 } });
  await until("what it is", async () => /retains/.test(await page.getByTestId("mapinfo").textContent()), 5);
  await shot("treemap");
  await page.getByTestId("treemap").click({ position: { x: 30, y: 60 } });
  await until("a zoom in the address", () => /node=|object=/.test(page.url()), 5);
  await page.goBack();
  await until("the whole", () => !/node=|object=/.test(page.url()), 5);
}

/** The way from the planted root is shown, and opens step by step. */
async function why(page, base, id, heap, shot) {
  const { rows: [type] } = await heap(`types?q=${encodeURIComponent(EXACTLY)}`);
  await page.goto(`${base}/heap/${id}?view=why&type=${type.id}`);
  const path = page.getByTestId("path").first();
  await path.waitFor();
  const text = await path.textContent();
  for (const part of ["session.Registry.trail", `[]*${LEAKED}[...]`, LEAKED]) assert(text.includes(part), `${part} is not in ${text}`);
  const { paths: [first] } = await heap(`why?type=${type.id}`);
  assert.equal(await path.locator(".steps > details").count(), first.steps.length);
  const last = path.locator(".steps > details").last();
  await last.locator("summary").click({ position: { x: 2, y: 8 } });
  const referrers = last.locator("[data-list=referrers]").first();
  await referrers.waitFor();
  const { incoming_total: total } = await heap(`object?node=${first.steps.at(-1).node}`);
  assert((await referrers.textContent()).startsWith(`referrers (${total.toLocaleString("en")})`));
  // One of them opens in turn.
  await referrers.locator("details > summary").first().click({ position: { x: 2, y: 8 } });
  await referrers.locator("[data-list=references]").first().waitFor();
  await shot("why");
  // A single object by its address.
  const { rows: [object] } = await heap(`find?type=${type.id}&limit=1`);
  await page.getByLabel("find objects").fill(object.address);
  await page.keyboard.press("Enter");
  await until("the object", () => page.url().includes(`object=${object.address}`), 10);
  await until("its path", async () => (await page.getByTestId("path").first().textContent()).includes("session.Registry.trail"), 10);
}

async function goroutines(page, base, id, heap, shot) {
  await page.goto(`${base}/heap/${id}?view=goroutines&group=each`);
  const list = page.getByTestId("goroutines");
  await list.locator("details").first().waitFor();
  const { rows, total } = await heap("goroutines?limit=50");
  assert((await page.getByTestId("found").textContent()).includes(`${total.toLocaleString("en")} goroutine`));
  const withLocals = rows.find((row) => row.locals.some((local) => local.targets.length));
  assert(withLocals, "no goroutine has variables");
  const details = list.locator(`details[data-goroutine="${withLocals.id}"]`);
  await details.locator("summary").first().click();
  const local = details.getByTestId("local").first();
  await local.waitFor();
  assert((await local.textContent()).includes(withLocals.locals[0].variable));
  assert((await details.textContent()).includes(withLocals.stack[0].function));
  await shot("goroutines");
}

async function search(page, base, id, heap) {
  await page.goto(`${base}/heap/${id}`);
  await page.getByLabel("find objects").fill(`${LEAKED} >1KiB`);
  await page.keyboard.press("Enter");
  const { total } = await heap(`find?q=${LEAKED}&bytes_min=1024`);
  assert(total > 0);
  await until("what was found", async () => (await page.getByTestId("found").textContent()).startsWith(`${total.toLocaleString("en")} object`), 10);
}

async function changes(page, base, id, first, heap, shot) {
  await page.goto(`${base}/heap/${id}`);
  await page.getByTestId("base").selectOption(String(first));
  await page.getByTestId("diff").waitFor();
  assert.match(page.url(), new RegExp(`base=${first}`));
  const { types: list } = await heap(`diff?base=${first}`);
  const change = list.find((row) => row.type === LEAKED);
  assert(change.after.objects > change.before.objects, JSON.stringify(change));
  const grown = change.after.bytes - change.before.bytes;
  const row = page.getByTestId("changes").locator("tr[data-row]").filter({ hasText: LEAKED }).first();
  assert((await row.textContent()).includes(`+${size(grown)}`), await row.textContent());
  assert((await page.getByTestId("grownpath").first().textContent()).includes("session.Registry.trail"));
  await shot("changes");
}

async function themes(page, base, id, shot) {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const view of ["types", "dominators", "treemap", "roots", "goroutines", "why"]) {
      await page.goto(`${base}/heap/${id}?view=${view}`);
      await page.getByTestId("view").locator("> *").first().waitFor();
      assert.equal(await page.getByTestId("failure").count(), 0, view);
      // Keys choose views too.
      if (view === "roots") {
        await page.keyboard.press("1");
        await page.getByTestId("types").waitFor();
      }
      await shot(`${view}-${scheme}`);
    }
  }
}

async function mistakes(page, base, id) {
  await page.goto(`${base}/heap/${id}?view=why&object=0x10`);
  await page.getByText("no object lies at 0x10").waitFor();
  await page.goto(`${base}/heap/999999`);
  await page.getByText("there is no capture 999999").waitFor();
}

await run(main);
