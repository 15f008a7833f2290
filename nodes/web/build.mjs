// Build what browsers load: src/ -> dist/. Called by scripts/build-web, which sees to node_modules.
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = (path) => new URL(path, import.meta.url).pathname;
const common = { bundle: true, minify: true, target: "es2022", legalComments: "eof", logLevel: "warning" };
const out = here("dist");

await rm(out, { recursive: true, force: true });
await mkdir(`${out}/assets`, { recursive: true });
for (const name of ["frame.html", "frame.css", "agent"]) {
  await cp(here(`src/${name}`), `${out}/${name}`, { recursive: true });
}
await rm(`${out}/agent/parts`, { recursive: true, force: true });

const classic = { ...common, format: "iife" };
const modules = { ...common, format: "esm", external: ["/assets/*"] };
await Promise.all([
  build({ ...classic, entryPoints: [here("src/page/index.js")], outfile: `${out}/site_connect.js` }),
  build({ ...classic, entryPoints: [here("src/recorder.js")], outfile: `${out}/assets/recorder.js` }),
  build({ ...modules, entryPoints: [here("src/frame/main.js")], outfile: `${out}/frame.js` }),
  build({ ...modules, entryPoints: [here("src/assets/chat.js")], outfile: `${out}/assets/chat.js` }),
  build({ ...modules, entryPoints: [here("src/replay.js")], outfile: `${out}/assets/replay.js` }),
  build({ ...modules, entryPoints: [here("src/agent/parts/main.js")], outfile: `${out}/agent/agent.js` }),
]);
await writeFile(`${out}/assets/replay.css`, await readFile(here("node_modules/@rrweb/replay/dist/style.min.css")));

const assets = ["chat", "recorder", "replay"].map((name) => `assets/${name}.js`);
for (const name of ["site_connect.js", "frame.js", "agent/agent.js", ...assets]) {
  const text = await readFile(`${out}/${name}`);
  const zipped = gzipSync(text, { level: 9 });
  console.log(`${name.padEnd(20)} ${String(text.length).padStart(8)} B ${String(zipped.length).padStart(8)} B gzipped`);
}
