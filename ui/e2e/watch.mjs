// The page of the watch in a real Chromium, on a real agent and a real Go program.
// Usage: watch.mjs MEMSIGHT SHOP [SCREENSHOTS]
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, openPage, run, start, until } from "./browser.mjs";

const [memsight, shop, screenshots] = process.argv.slice(2);
assert(memsight && shop, "usage: watch.mjs MEMSIGHT SHOP [SCREENSHOTS]");

const config = (pid, dir) => `
global: {scrape_interval: 1s, profile_interval: 2s}
targets: {watch: [${pid}]}
web: {listen: '127.0.0.1:0'}
store: {path: ${dir}/store}
rules:
  - name: large
    when: {signal: rss_bytes, above: 1MiB}
    do: [{capture: [heap, goroutine]}, {notify: log}]
    severity: warning
  - name: enormous
    when: {signal: rss_bytes, above: 900GiB}
    do: [{capture: heap}]
notify:
  receivers:
    - name: log
      log_configs: [{path: ${dir}/alerts.log}]
  route: {receiver: log, group_wait: 1s}
`;

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const dir = mkdtempSync(join(tmpdir(), "memsight-e2e-watch-"));
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  writeFileSync(join(dir, "memsight.yaml"), config(shopProcess.pid, dir));
  const server = start(memsight, ["agent", "-c", join(dir, "memsight.yaml")], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the agent", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
  await until("the rule's captures", async () => (await api("/watch/history")).some((act) => act.captures.length === 2));
  await until("the notification", async () => (await api("/watch/notifications")).length > 0);

  const { page, errors } = await openPage(browser);
  await page.goto(base);
  await page.getByRole("link", { name: "watch" }).click();
  const row = (rule) => page.getByTestId("states").locator("tbody tr", { hasText: rule }).first();
  // Why it fired, and why another did not, each with the figure.
  assert.match(await row("large").textContent(), /firing.*large.*shop.*rss.*above 1.00 MiB/);
  assert.match(await row("enormous").textContent(), /inactive.*did not fire: rss .* MiB, bound: above 900 GiB/);
  const acts = page.getByTestId("acts").locator("tbody tr");
  assert.match(await acts.last().textContent(), /fired.*large.*shop/);
  assert.match(await page.getByTestId("told").textContent(), /log.*1 firing.*large.*delivered/);
  assert.match(await page.getByTestId("log").textContent(), /notification.*log was told of/);
  assert.match(readFileSync(join(dir, "alerts.log"), "utf8"), /"alertname":"large"/);

  // By hand: the page calls the rule, captures come, and their links work.
  await row("by-hand").getByRole("button", { name: "call" }).click();
  await page.getByTestId("acts").locator("tbody tr", { hasText: "by-hand" }).locator("a").first().waitFor();
  const link = await page.getByTestId("acts").locator("tbody tr", { hasText: "large" }).locator("a").first().getAttribute("href");
  // One target: only its rules, and what they would have done.
  await page.getByTestId("targets").getByRole("link", { name: /shop/ }).click();
  await page.getByTestId("replay").click();
  await page.getByTestId("replayed").locator("tbody tr", { hasText: "large" }).first().waitFor();
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.reload();
    await page.getByTestId("states").waitFor();
    if (screenshots) await page.screenshot({ path: join(screenshots, `watch-${scheme}.png`), fullPage: true });
  }
  await page.goto(base + link);
  await page.getByTestId("flame").waitFor();
  assert.deepEqual(errors, []);
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(dir, { recursive: true });
  console.log("ok: rules with reasons, what they did, notifications, a call by hand, replay, dark mode");
  return 0;
}

await run(main);
