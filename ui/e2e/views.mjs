// Every view of the profile page, clicked through; each address must restore what is shown.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { drawn, servePages, until } from "./browser.mjs";

/** A digest of the pixels of a canvas. */
const pixels = (page, testId) => page.getByTestId(testId).first().evaluate((canvas) => {
  const words = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return words.reduce((sum, word) => (Math.imul(sum, 31) + word) >>> 0, 7);
});

/** Loads the address again; the canvas must come to look the same. */
async function restores(page, testId) {
  // Neither the mouse nor a selection is part of the address.
  await page.mouse.move(2, 2);
  const [before, address] = [await pixels(page, testId), page.url()];
  await page.goto("about:blank");
  await page.goto(address);
  await page.getByTestId(testId).first().waitFor();
  await until(`${testId} as it was before the reload`, async () => (await pixels(page, testId)) === before, 10);
  assert.equal(page.url(), address);
}

const info = (page) => page.locator(".info").first().textContent();

async function flame(page, address, shot) {
  await page.goto(`${address}?view=flame`);
  await until("a drawn flame graph", () => drawn(page, "flame"));
  // Keys: two frames inward, zoom, out.
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("s");
  assert.match(await info(page), /% of the total/);
  await page.keyboard.press("Enter");
  await page.waitForURL(/z=[0-9a-f]{16}/);
  await page.keyboard.press("Escape");
  await page.waitForURL((url) => !url.search.includes("z="));
  await page.keyboard.press("?");
  await page.getByTestId("help").getByText("Backspace").waitFor();
  await shot("help");
  await page.keyboard.press("Escape");
  await page.getByTestId("help").waitFor({ state: "hidden" });
  await page.keyboard.press("/");
  await page.keyboard.type("main|session");
  await until("matches", async () => /\d frames, .*%/.test(await page.getByTestId("found").textContent()));
  await page.keyboard.press("Escape");
  await page.getByTestId("flame").click({ position: { x: 60, y: 47 } });
  await page.waitForURL(/z=[0-9a-f]{16}/);
  await page.waitForTimeout(300);
  await page.getByRole("button", { name: "roots at the bottom" }).click();
  await page.waitForURL(/orient=flame/);
  await page.waitForTimeout(200);
  await restores(page, "flame");
  await shot("flame-zoomed");
  await page.getByRole("button", { name: "reverse" }).click();
  await page.waitForURL(/reverse=1/);
  await until("a reversed flame graph", () => drawn(page, "flame"));
}

async function menuAndChips(page, address, shot) {
  await page.goto(`${address}?view=flame`);
  await until("a drawn flame graph", () => drawn(page, "flame"));
  await page.getByTestId("flame").click({ button: "right", position: { x: 60, y: 47 } });
  await page.getByTestId("menu").getByText("copy its name").waitFor();
  await shot("menu");
  await page.keyboard.press("Escape");
  await page.getByTestId("menu").waitFor({ state: "detached" });
  await page.getByTestId("flame").dblclick({ position: { x: 60, y: 47 } });
  await page.getByTestId("menu").getByText("ignore").click();
  await page.waitForURL(/[?&]i=/);
  await page.getByTestId("chip-i").waitFor();
  // A second one by the form, then both go.
  await page.getByLabel("filter", { exact: true }).selectOption("h");
  await page.getByLabel("filter by").fill("runtime");
  await page.getByRole("button", { name: "filter", exact: true }).click();
  await page.getByTestId("chip-h").getByText("runtime").waitFor();
  await page.getByRole("button", { name: "remove hide" }).click();
  await page.getByTestId("chip-h").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "remove ignore" }).click();
  await page.getByTestId("chip-i").waitFor({ state: "detached" });
  assert.equal(new URL(page.url()).searchParams.get("i"), null);
  // A broken expression is said, not thrown.
  await page.goto(`${address}?view=flame&f=${encodeURIComponent("a(")}`);
  await page.getByTestId("failure").waitFor();
}

async function both(page, address, shot) {
  await page.goto(address);
  await page.getByTestId("functions").getByText("flat %").waitFor();
  await until("a drawn flame graph", () => drawn(page, "flame"));
  await page.getByTestId("functions").getByText("cum", { exact: true }).click();
  await page.waitForURL(/sort=cum/);
  const first = page.getByTestId("functions").locator("tbody tr[data-row='0']");
  const before = await pixels(page, "flame");
  await first.hover();
  await until("the function under the mouse in the graph", async () => (await pixels(page, "flame")) !== before, 5);
  const bar = page.getByRole("separator");
  await bar.focus();
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL(/split=40/);
  await shot("both");
  await restores(page, "flame");
}

async function sandwich(page, address, shot) {
  await page.goto(`${address}?view=sandwich`);
  await until("drawn callers", () => drawn(page, "callers"));
  await until("drawn callees", () => drawn(page, "callees"));
  assert.match(page.url(), /function=/);
  await shot("sandwich");
  await restores(page, "callers");
}

async function tags(page, address, shot) {
  await page.goto(`${address}?view=tags`);
  const bars = page.getByTestId("tags").locator(".tagbar");
  await bars.first().waitFor();
  await shot("tags");
  const shown = await bars.count();
  assert(shown > 1, "one value cannot be filtered by");
  await bars.first().getByRole("button").first().click();
  await page.getByTestId("chip-tf").waitFor();
  await until("only that value", async () => (await bars.count()) === 1);
  await page.getByRole("button", { name: "remove tag focus" }).click();
  await until("all values", async () => (await bars.count()) === shown);
  await page.getByRole("button", { name: "as root" }).first().click();
  await page.getByTestId("chip-tagroot").waitFor();
  await page.getByRole("button", { name: "flame", exact: true }).click();
  await until("a flame graph with tags", () => drawn(page, "flame"));
}

/** On a profile whose binary is at hand; one read from outside has no addresses to look up. */
async function code(page, address, name, shot) {
  const only = encodeURIComponent(name.replace(/[.*()[\]]/g, "\\$&"));
  await page.goto(`${address}?view=source&code=${only}`);
  const source = page.getByTestId("source");
  await source.getByText(name).first().waitFor();
  assert((await source.locator("tbody tr").count()) > 5, "the source has no lines");
  await shot("source");
  await page.getByRole("button", { name: "assembly" }).click();
  await page.waitForURL(/asm=1/);
  await until("instructions", async () => (await page.locator("tr.asm").count()) > 0, 20);
  await shot("source-asm");
  await page.getByRole("button", { name: "disasm" }).click();
  await page.getByTestId("disasm").locator("tbody tr").first().waitFor();
  assert.match(page.url(), /view=disasm/);
  await shot("disasm");
}

async function graph(page, address, shot) {
  await page.goto(`${address}?view=graph`);
  const nodes = page.getByTestId("graph").locator(".node");
  await nodes.first().waitFor();
  assert((await nodes.count()) > 3);
  await shot("graph");
  const box = () => page.getByTestId("graph").locator("svg").getAttribute("viewBox");
  const whole = await box();
  await page.keyboard.press("+");
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(/graph=/);
  const moved = await box();
  assert.notEqual(moved, whole);
  const address2 = page.url();
  await page.goto(address2);
  await nodes.first().waitFor();
  assert.deepEqual((await box()).split(" ").map((n) => Number(n).toFixed(0)), moved.split(" ").map((n) => Number(n).toFixed(0)));
  await page.keyboard.press("0");
  await nodes.first().click();
  await page.getByTestId("menu").getByText("sandwich").click();
  await until("drawn callees", () => drawn(page, "callees"));
}

async function side(page, address, other, shot) {
  await page.goto(`${address}?view=side&with=${other}`);
  await until("the left one", () => drawn(page, "left"));
  await until("the right one", () => drawn(page, "right"));
  const before = await pixels(page, "right");
  await page.getByTestId("left").hover({ position: { x: 40, y: 47 } });
  await until("the same function on the other side", async () => (await pixels(page, "right")) !== before, 5);
  await page.getByTestId("left").click({ position: { x: 40, y: 47 } });
  await page.waitForURL(/z=[0-9a-f]{16}/);
  await page.waitForTimeout(300);
  await shot("side");
  await restores(page, "right");
}

/** What was cut can be opened, and stays open in the link. */
export async function paging(page, address) {
  await page.goto(`${address}?view=flame`);
  await until("a drawn flame graph", () => drawn(page, "flame"));
  const find = async () => {
    for (let depth = 0; depth < 12; depth++) {
      await page.keyboard.press("ArrowDown");
      for (let step = 0; step < 60; step++) {
        const text = await info(page);
        if (text.startsWith("(other)")) return text;
        await page.keyboard.press("ArrowRight");
        if ((await info(page)) === text) break;
      }
    }
    throw new Error("nothing was cut");
  };
  await find();
  await page.keyboard.press("Enter");
  await page.waitForURL(/open=[0-9a-f]{16}(:|%3A)\d+/);
  await page.waitForTimeout(1500);
  await until("a drawn flame graph", () => drawn(page, "flame"));
  await restores(page, "flame");
}

/** Source, instructions and disassembly of a Go program's profile of itself. */
export async function listings(page, memsight, shot) {
  const work = mkdtempSync(join(tmpdir(), "memsight-e2e-go-"));
  const program = fileURLToPath(new URL("../../fixtures/pprofgen", import.meta.url));
  execFileSync("go", ["build", "-ldflags=-B gobuildid", "-o", join(work, "pprofgen"), "."], { cwd: program });
  execFileSync(join(work, "pprofgen"), ["-dir", work]);
  const { server, url } = await servePages(memsight, join(work, "heap.pb.gz"));
  await code(page, url, "main.leaf", shot);
  server.kill("SIGTERM");
  rmSync(work, { recursive: true });
}

export async function views(page, base, capture, other, shot) {
  const address = `${base}/capture/${capture}`;
  await flame(page, address, shot);
  await menuAndChips(page, address, shot);
  await both(page, address, shot);
  await sandwich(page, address, shot);
  await tags(page, address, shot);
  await graph(page, address, shot);
  await side(page, address, other, shot);
}
