// The pages of probes and processes in a real Chromium, on a real agent and real Go programs; needs the privileges of
// probes, and a C compiler for what is about malloc.
// Usage: probes.mjs MEMSIGHT SHOP CLIMB [SCREENSHOTS]
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { drawn, launch, openPage, run, start, until } from "./browser.mjs";

const [memsight, shop, climbSource, screenshots] = process.argv.slice(2);
assert(memsight && shop && climbSource, "usage: probes.mjs MEMSIGHT SHOP CLIMB [SCREENSHOTS]");

/** A cgroup of version 1 with a limit, below our own; null where there can be none. */
function limited() {
  const line = readFileSync("/proc/self/cgroup", "utf8").split("\n").find((each) => each.split(":")[1]?.split(",").includes("memory"));
  const dir = line && join("/sys/fs/cgroup/memory", line.split(":")[2], `memsight-e2e-${process.pid}`);
  try {
    mkdirSync(dir);
    writeFileSync(join(dir, "memory.limit_in_bytes"), "256M");
    return dir;
  } catch {
    return null;
  }
}

/** A program that leaks C memory; null where it cannot be built. */
function leakOfC(dir) {
  if (spawnSync("gcc", ["--version"]).status !== 0) return null;
  const file = join(dir, "cgomalloc");
  const cwd = fileURLToPath(new URL("../../examples/leaks", import.meta.url));
  execFileSync("go", ["build", "-o", file, "./cgomalloc"], { cwd, env: { ...process.env, CGO_ENABLED: "1" } });
  return file;
}

/** What a probe finds while it looks, and goes on to find while nobody does. */
async function atWork(page, shot) {
  await page.getByLabel("seconds").selectOption("60");
  await page.getByRole("button", { name: "look" }).click();
  const panel = page.getByTestId("at-work");
  await panel.getByText("Go objects of shop").waitFor({ timeout: 20_000 });
  const seen = async () => {
    await panel.getByTestId("live-sites").getByText("shop/").first().waitFor({ timeout: 30_000 });
    await until("a live flame graph", () => drawn(page, "live-flame"));
    await until("rates", async () => /^[\d.]+ [KMG]iB allocated a second[\d,.]+ samples a second.*± /.test(await panel.getByTestId("rates").textContent()));
  };
  await seen();
  await panel.getByRole("button", { name: "what was allocated" }).click();
  await until("another flame graph", async () => /alloc_space|allocated/.test(await panel.getByRole("button", { pressed: true }).textContent()));
  await until("it to be drawn", () => drawn(page, "live-flame"));
  // Its collector finds some of them dead, and then it is known how long they live.
  const short = panel.getByTestId("live-sites").locator("tbody tr").filter({ hasNotText: "longer" });
  await short.first().waitFor({ timeout: 50_000 });
  await until("deaths", async () => !/samples a second0 deaths/.test(await panel.getByTestId("rates").textContent()));
  await shot("at-work");
  // It goes on without a page, and is there again for the next one.
  await page.getByRole("link", { name: "memsight" }).click();
  await page.getByTestId("targets").waitFor();
  await page.getByRole("link", { name: "probes" }).click();
  await seen();
}

/** The same of malloc. */
async function atWorkInC(page) {
  await page.goto(page.url().replace(/\/probes.*/, "/probes"));
  const option = page.getByLabel("target").locator("option", { hasText: "cgomalloc" });
  await page.getByLabel("target").selectOption(await option.getAttribute("value"));
  await page.getByLabel("kind").selectOption("native");
  await page.getByLabel("seconds").selectOption("30");
  await page.getByRole("button", { name: "look" }).click();
  const panel = page.getByTestId("at-work");
  await panel.getByText("malloc of cgomalloc").waitFor({ timeout: 20_000 });
  // The calls in C, and the Go function that made them.
  await panel.getByTestId("live-sites").getByText("keep").first().waitFor({ timeout: 30_000 });
  await until("a live flame graph", () => drawn(page, "live-flame"));
  assert.match(await panel.getByTestId("rates").textContent(), /allocated a second.*calls a second.*not freed/);
  await page.getByTestId("sampled").locator("tbody tr", { hasText: "cgomalloc" }).first().waitFor({ timeout: 60_000 });
  await until("the panel to go", async () => (await panel.count()) === 0);
}

/** Processes that nobody could have polled. */
async function processesInTime(page, wasKilled, shot) {
  await page.getByRole("link", { name: "processes" }).click();
  await page.getByTestId("lives").waitFor();
  const mark = `e2e-mark-${process.pid}`;
  const script = `i=0; while [ $i -lt 40 ]; do sh -c 'exit 3' ${mark}; i=$((i + 1)); done`;
  execFileSync("sh", ["-c", script, mark]);
  await page.getByLabel("name").fill(mark);
  const about = page.getByTestId("about");
  await until("all of them", async () => /^41 processes/.test(await about.textContent()));
  assert.match(page.url(), /name=e2e-mark/);
  const rows = page.getByTestId("processes").locator("tbody tr[data-row]");
  const child = rows.filter({ has: page.getByText("exit 3", { exact: true }) }).first();
  await child.getByRole("link").click();
  const details = page.getByTestId("details");
  assert.match(await details.textContent(), new RegExp(`exit 3.*sh -c exit 3 ${mark}.*parent sh \\(pid \\d+\\)`));
  await details.getByRole("button", { name: /^sh/ }).click();
  await until("the parent", async () => /exit 0.*40 children here/.test(await details.textContent()));
  assert(await drawn(page, "lives"));
  // A time is selected, which the address has, and left again.
  const box = await page.getByTestId("lives").boundingBox();
  const drag = async (from, to) => {
    await page.mouse.move(box.x + 200 + (box.width - 200) * from, box.y + 70);
    await page.mouse.down();
    await page.mouse.move(box.x + 200 + (box.width - 200) * to, box.y + 70, { steps: 4 });
    await page.mouse.up();
  };
  await drag(0.1, 0.3);
  await until("a time in the address", () => /from=\d+&until=\d+/.test(page.url()));
  await until("none of that time", async () => /^0 processes/.test(await about.textContent()));
  await page.reload();
  await until("the same after a reload", async () => /^0 processes/.test(await about.textContent()));
  await page.getByRole("button", { name: "up to now" }).click();
  await until("all of them again", async () => /^41 processes/.test(await about.textContent()));
  if (wasKilled) {
    await page.getByLabel("name").fill("/climb$");
    const killed = page.getByTestId("processes").locator("tbody tr[data-row]", { hasText: "OOM kill" });
    await killed.first().waitFor({ timeout: 20_000 });
    assert.match(await killed.first().textContent(), /climb.*2[0-9]{2} MiB.*OOM kill/);
  }
  await page.getByLabel("name").fill("");
  await until("the others", async () => Number.parseInt(await about.textContent(), 10) > 41);
  // Children stand below their parents, whatever their number.
  await page.getByTestId("lives").hover({ position: { x: 600, y: 90 } });
  await shot("processes");
  await page.getByLabel("name").fill("(");
  await page.getByText("unclosed group").waitFor();
  await page.getByLabel("name").fill("");
}

async function main() {
  const browser = await launch();
  if (!browser) {
    console.log("skipped: no Chromium on this machine (apt-get install chromium)");
    return process.env.REQUIRE_CHROMIUM ? 1 : 0;
  }
  const able = spawnSync(memsight, ["probe", "exec", "--for", "1ms"], { encoding: "utf8" });
  if (able.status === 3) {
    console.log(`skipped: ${able.stderr.trim()}`);
    return 0;
  }
  const dir = mkdtempSync(join(tmpdir(), "memsight-e2e-probes-"));
  const shopProcess = start(shop, ["-leak=true"], { stdio: "ignore" });
  const climb = join(dir, "climb");
  execFileSync("go", ["build", "-o", climb, "."], { cwd: climbSource });
  const leak = leakOfC(dir);
  const leakProcess = leak && start(leak, [], { stdio: "ignore" });
  const config = `
global: {scrape_interval: 1s}
targets: {watch: [${[shopProcess.pid, leakProcess?.pid].filter(Boolean).join(", ")}, 'name:${dir}/climb']}
web: {listen: '127.0.0.1:0', allow_probes: true}
store: {path: ${dir}/store}
`;
  writeFileSync(join(dir, "memsight.yaml"), config);
  const server = start(memsight, ["agent", "-c", join(dir, "memsight.yaml")], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the agent", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
  await until("the targets", async () => (await api("/targets")).length === (leak ? 2 : 1));

  const { page, errors } = await openPage(browser);
  const shot = async (name) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  };
  await page.goto(base);
  await page.getByRole("link", { name: "probes" }).click();
  const shopOption = page.getByLabel("target").locator("option", { hasText: "shop" });
  await page.getByLabel("target").selectOption(await shopOption.getAttribute("value"));
  // On request: what the shop allocates, what of it lives, how long.
  await atWork(page, shot);
  const row = page.getByTestId("sampled").locator("tbody tr", { hasText: "shop" }).first();
  await row.waitFor({ timeout: 90_000 });
  await until("the panel to go", async () => (await page.getByTestId("at-work").count()) === 0);
  const lives = await row.getByRole("link", { name: "what lives" }).getAttribute("href");
  await row.getByRole("link", { name: "how long it lives" }).click();
  const longer = page.getByTestId("lifetimes").locator("tbody tr").last();
  assert.match(await longer.textContent(), /longer than was looked/);

  // A kill is told with its cause, and the heap of its moment names the code.
  const cgroup = limited();
  if (cgroup) {
    const shell = start("sh", ["-c", `echo $$ > ${cgroup}/cgroup.procs; exec ${climb}`], { stdio: ["pipe", "ignore", "ignore"] });
    await until("the climber", async () => (await api("/targets")).some((target) => target.name === "climb"));
    shell.stdin.write("climb 400 3000\n");
    await new Promise((resolve) => shell.on("exit", resolve));
    rmdirSync(cgroup);
    const kill = page.getByTestId("kills").locator("tbody tr", { hasText: "climb" });
    await kill.waitFor({ timeout: 20_000 });
    assert.match(await kill.textContent(), /cgroup .*memsight-e2e.* at its limit of 256 MiB/);
    await kill.getByRole("link", { name: "the heap of the moment" }).click();
    await page.getByTestId("flame").waitFor();
    await page.getByText("main.hoard").first().waitFor();
    await page.goto(`${base}/probes`);
    await page.getByTestId("kills").locator("tbody tr").first().waitFor();
  } else {
    console.log("skipped: no cgroup of version 1 can be made here; kills were not seen");
  }
  if (leak) await atWorkInC(page);
  else console.log("skipped: no C compiler, so that nothing was seen of malloc");
  await processesInTime(page, cgroup !== null, shot);
  await page.goto(`${base}/probes`);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.reload();
    await page.getByTestId("sampled").waitFor();
    await shot(`probes-${scheme}`);
  }
  await page.goto(base + lives);
  await page.getByTestId("flame").waitFor();
  // The browser itself reports that a probe was asked for what it has found just after its end, and the broken expression.
  const unexpected = errors.filter((text) => !/status of 40[04]/.test(text));
  assert.deepEqual(unexpected, []);
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(dir, { recursive: true });
  console.log("ok: sampled objects and malloc on request and while it lasts, lifetimes, kills with cause and heap, processes, dark mode");
  return 0;
}

await run(main);
