// What the tests and measurements in a real Chromium share.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const children = [];

/** Starts a process that `stopAll` ends. */
export function start(file, args, options) {
  const child = spawn(file, args, options);
  children.push(child);
  return child;
}

export function stopAll() {
  children.forEach((child) => child.kill("SIGKILL"));
}

/** Runs a test, which resolves to an exit code, and ends what it started. */
export async function run(main) {
  const timeout = setTimeout(() => {
    console.error("gave up after 5 minutes");
    stopAll();
    process.exit(1);
  }, 300_000);
  let code = 1;
  try {
    code = await main();
  } finally {
    clearTimeout(timeout);
    stopAll();
  }
  process.exit(code);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what, check, seconds = 60) {
  for (let i = 0; i < seconds * 4; i++) {
    const value = await check();
    if (value) return value;
    await sleep(250);
  }
  throw new Error(`gave up waiting for ${what}`);
}

/** A Chromium, or null where there is none. */
export async function launch() {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  return executablePath ? chromium.launch({ executablePath, args: ["--no-sandbox"] }) : null;
}

/** A page of 1,280 pixels, and what it complains of in its console. */
export async function openPage(browser, height = 860) {
  const context = await browser.newContext({ viewport: { width: 1280, height } });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  return { page, errors };
}

/** `memsight pprof -http` on a file; resolves to the process and the page's address. */
export async function servePages(memsight, ...args) {
  const server = start(memsight, ["pprof", "-http=127.0.0.1:0", "-no_browser", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  const url = await until("the server", () => /Serving web UI on (http:\S+)/.exec(log)?.[1]);
  return { server, url };
}

/** Whether a canvas shows more than one colour. */
export function drawn(page, testId) {
  return page.getByTestId(testId).first().evaluate((canvas) => {
    if (!canvas.width || !canvas.height) return false;
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(pixels).size > 2;
  });
}
