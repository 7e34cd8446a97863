// The page of probes in a real Chromium, on a real agent and real Go programs; needs the privileges of probes.
// Usage: probes.mjs MEMSIGHT SHOP CLIMB [SCREENSHOTS]
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, openPage, run, start, until } from "./browser.mjs";

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
  const config = `
global: {scrape_interval: 1s}
targets: {watch: [${shopProcess.pid}, 'name:${dir}/climb']}
web: {listen: '127.0.0.1:0', allow_probes: true}
store: {path: ${dir}/store}
`;
  writeFileSync(join(dir, "memsight.yaml"), config);
  const server = start(memsight, ["agent", "-c", join(dir, "memsight.yaml")], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const base = await until("the agent", () => /pages on (http:\S+),/.exec(log)?.[1]);
  const api = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
  await until("the shop", async () => (await api("/targets")).some((target) => target.name === "shop"));

  const { page, errors } = await openPage(browser);
  await page.goto(base);
  await page.getByRole("link", { name: "probes" }).click();
  // On request: what the shop allocates, what of it lives, how long.
  await page.getByLabel("seconds").selectOption("5");
  await page.getByRole("button", { name: "look" }).click();
  const row = page.getByTestId("sampled").locator("tbody tr", { hasText: "shop" }).first();
  await row.waitFor({ timeout: 20_000 });
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
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.reload();
    await page.getByTestId("sampled").waitFor();
    if (screenshots) await page.screenshot({ path: join(screenshots, `probes-${scheme}.png`), fullPage: true });
  }
  await page.goto(base + lives);
  await page.getByTestId("flame").waitFor();
  assert.deepEqual(errors, []);
  await browser.close();
  server.kill("SIGTERM");
  const exit = await new Promise((resolve) => server.on("exit", resolve));
  assert.equal(exit, 0, log);
  rmSync(dir, { recursive: true });
  console.log("ok: sampled objects on request, lifetimes, kills with cause and heap, dark mode");
  return 0;
}

await run(main);
