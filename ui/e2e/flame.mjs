// The files that `memsight flame` writes, in a real Chromium: no request leaves them,
// widths hold with negative values, and every control does what it says.
// Usage: flame.mjs MEMSIGHT [SCREENSHOTS]
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [memsight, screenshots] = process.argv.slice(2);
assert(memsight, "usage: flame.mjs MEMSIGHT [SCREENSHOTS]");
const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!browserPath) {
  console.log("skipped: no Chromium on this machine (apt-get install chromium)");
  process.exit(process.env.REQUIRE_CHROMIUM ? 1 : 0);
}
const dir = mkdtempSync(join(tmpdir(), "memsight-flame-"));
const NOW = "main;a;x 400\nmain;a;y 100\nmain;b;x 300\nmain;same 50\nmain;r;r;r 20\nmain;new 130\n";
const BEFORE = "main;a;x 100\nmain;a;y 300\nmain;b;x 300\nmain;same 50\nmain;gone 500\n";
writeFileSync(join(dir, "now.folded"), NOW);
writeFileSync(join(dir, "before.folded"), BEFORE);
const flame = (name, ...options) => {
  const file = join(dir, name);
  execFileSync(memsight, ["flame", join(dir, "now.folded"), "-o", file, ...options], { stdio: "ignore" });
  return file;
};
const base = ["--base", join(dir, "before.folded")];

// Every frame's children fill at most its width, side by side.
function checkTree({ tree, total }) {
  const inside = tree.width.map(() => 0);
  tree.parent.forEach((parent, i) => {
    if (i > 0) inside[parent] += tree.width[i];
    for (const [k, child] of tree.kids[i].entries()) {
      const start = k ? tree.x[tree.kids[i][k - 1]] + tree.width[tree.kids[i][k - 1]] : tree.x[i];
      assert.equal(tree.x[child], start);
    }
  });
  tree.width.forEach((width, i) => {
    const itself = Math.max(Math.abs(tree.own[i]), Math.abs(tree.ownBase[i]));
    assert.equal(width, inside[i] + itself);
  });
  assert.equal(tree.sum[0] - tree.base[0], total, "the sum is conserved");
}
const treeOf = (page) =>
  page.evaluate(() => {
    const { parent, kids, x, width, own, ownBase, sum, base } = panels[0].tree;
    return { parent, kids, x: [...x], width: [...width], own, ownBase, sum: [...sum], base: [...base] };
  });

async function checkPage(context, open) {
  const page = await open(context, flame("diff.html", ...base));
  const info = () => page.textContent("#info");
  const pressed = (id) => page.getAttribute(id, "aria-pressed");
  checkTree({ tree: await treeOf(page), total: 1000 - 1250 });
  assert(await page.isVisible("#legend"), "a difference explains its colours");
  await page.keyboard.press("r");
  assert.equal(await pressed("#reverse"), "true");
  checkTree({ tree: await treeOf(page), total: 1000 - 1250 });
  await page.keyboard.press("r");
  await page.keyboard.press("i");
  assert.equal(await pressed("#invert"), "true");
  // Inverted, the root is at the bottom and callees are above it.
  const box = await page.locator("canvas").boundingBox();
  await page.mouse.move(box.x + 50, box.y + box.height - 10);
  assert.match(await info(), /^root/);
  await page.mouse.click(box.x + 50, box.y + box.height - 29);
  assert.match(await info(), /^main/);
  await page.keyboard.press("ArrowUp");
  assert.doesNotMatch(await info(), /^(main|root)/);
  await page.fill("#q", "^x$");
  assert.equal(await page.textContent("#found"), "+300");
  await page.fill("#q", "(");
  assert.equal(await page.textContent("#found"), "not a regular expression");
  await page.keyboard.press("Escape");
  await page.click("#sandwich");
  assert.equal(await page.locator("canvas").count(), 2, "callers above, callees below");
  await page.locator("#list td:last-child", { hasText: /^r$/ }).click();
  assert.match(await info(), /^r\n20 /, "recursion counts once");
  await page.keyboard.press("d");
  if (screenshots) await page.screenshot({ path: join(screenshots, "flame-sandwich.png") });
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("canvas").count(), 1);
  if (screenshots) await page.screenshot({ path: join(screenshots, "flame.png") });
  const reversed = await open(context, flame("reversed.html", "--reverse", "--inverted"));
  assert.equal(await reversed.getAttribute("#reverse", "aria-pressed"), "true");
  assert(await reversed.isHidden("#legend"), "without a base there is no change to explain");
}

async function checkPicture(context, open) {
  const page = await open(context, flame("now.svg"));
  const shown = () =>
    page.evaluate(() => [...document.querySelectorAll("g.f")].filter((g) => g.style.display !== "none").length);
  const all = await shown();
  await page.locator("g.f", { has: page.locator("title", { hasText: /^b\n/ }) }).click();
  assert.equal(await shown(), 4, "root, main, b and x");
  const width = await page.locator("g.f rect").nth(0).getAttribute("width");
  assert.equal(width, "1179.60", "callers take the whole width");
  await page.click("#reset");
  assert.equal(await shown(), all);
  page.once("dialog", (dialog) => dialog.accept("^x$"));
  await page.click("#search");
  assert.equal(await page.textContent("#found"), "found: 70.0 % of the width");
  assert.equal(await page.locator("g.m").count(), 2);
  if (screenshots) await page.screenshot({ path: join(screenshots, "flame-svg.png") });
  // Without scripts it is the same picture, and no button that does nothing.
  const still = await context.browser().newContext({ javaScriptEnabled: false });
  const picture = await still.newPage();
  await picture.goto(`file://${join(dir, "now.svg")}`);
  assert.equal(await picture.locator("g.f").count(), all);
  assert(await picture.locator("#search").isHidden());
}

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const problems = [];
async function open(context, file) {
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(`${file}: ${error.message}`));
  page.on("request", (request) => request.url() === `file://${file}` || problems.push(`asks for ${request.url()}`));
  await page.goto(`file://${file}`);
  return page;
}
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 700 } });
  await checkPage(context, open);
  await checkPicture(context, open);
  assert.deepEqual(problems, []);
  console.log("ok: the flame graph files");
} finally {
  await browser.close();
  rmSync(dir, { recursive: true });
}
