// A pprof endpoint with a synthetic heap profile of many stacks, written here by hand
// so that it shares no code with the reader under test.
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

const varint = (value) => {
  const out = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const byte = Number(rest & 127n);
    rest >>= 7n;
    out.push(rest ? byte | 128 : byte);
  } while (rest);
  return out;
};
const number = (field, value) => [...varint(field * 8), ...varint(value)];
const message = (field, bytes) => [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
const packed = (field, values) => message(field, values.flatMap(varint));

/** Profile of `count` distinct stacks, 12 to 20 frames deep. */
export function syntheticProfile(count) {
  const strings = ["", "alloc_objects", "count", "alloc_space", "bytes", "inuse_objects", "inuse_space", "space"];
  const chunks = [];
  for (const [kind, unit] of [[1, 2], [3, 4], [5, 2], [6, 4]]) chunks.push(message(1, [...number(1, kind), ...number(2, unit)]));
  const functions = 4000;
  for (let i = 0; i < functions; i++) {
    strings.push(`example.com/p${i % 60}.(*T${i}).Method${i}`);
    const id = i + 1;
    chunks.push(message(5, [...number(1, id), ...number(2, strings.length - 1), ...number(4, 4)]));
    chunks.push(message(4, [...number(1, id), ...number(3, 0x400000 + id * 16), ...message(4, [...number(1, id), ...number(2, i % 900)])]));
  }
  let state = 12345;
  const random = (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 0; i < count; i++) {
    const depth = 12 + random(9);
    const stack = [];
    // Close to the root few functions, further out many, as in real programs.
    for (let d = depth; d > 0; d--) stack.push(1 + (d < 4 ? d : random(Math.min(functions, 3 ** Math.min(d, 8)))));
    const objects = 1 + random(100);
    chunks.push(message(2, [...packed(1, stack), ...packed(2, [objects * 2, objects * 128, objects, objects * 64]), ...message(3, [...number(1, 4), ...number(3, 64)])]));
  }
  for (const text of strings) chunks.push(message(6, [...Buffer.from(text)]));
  chunks.push(message(11, [...number(1, 7), ...number(2, 4)]), number(12, 524288));
  return gzipSync(Buffer.from(chunks.flat()), { level: 1 });
}

/** Serves profiles in turn; resolves to { url, close }. */
export function servePprof(profiles) {
  let turn = 0;
  const memstats = () => `heap profile: 1: 1 [1: 1] @ heap/1048576\n\n# runtime.MemStats\n# HeapInuse = ${10000000 + turn * 1000}\n# NumGC = ${turn}\n`;
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    if (path.startsWith("/debug/pprof/heap?debug=1")) response.end(memstats());
    else if (path.startsWith("/debug/pprof/heap")) response.end(profiles[turn++ % profiles.length]);
    else if (path.startsWith("/debug/pprof/goroutine")) response.end("goroutine 1 [running]:\nmain.main()\n\t/x/main.go:3 +0x1d\n");
    else response.end("synthetic");
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const close = () => {
        server.closeAllConnections();
        server.close();
      };
      resolve({ url: `http://127.0.0.1:${server.address().port}`, close });
    });
  });
}
