// Build what browsers load: src/ -> dist/, whose paths are those of the URLs. scripts/build-web calls it, and has
// filled node_modules before. `src/` has a folder for each program: page, frame, console; the shop is served as it is.
import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

import { withOwnReads } from "./own_reads.mjs";

const here = (path) => new URL(path, import.meta.url).pathname;
/** The recorder's library reads the page by src/page/clean.js. */
const ownReads = {
  name: "own-reads",
  setup({ onLoad }) {
    onLoad({ filter: /@rrweb\/record\/dist\/record\.js$/ }, async ({ path }) => ({
      contents: withOwnReads(await readFile(path, "utf8"), here("src/page/clean.js")),
    }));
  },
};
const common = { bundle: true, minify: true, target: "es2022", legalComments: "eof", logLevel: "warning" };
const classic = { ...common, format: "iife" };
const modules = { ...common, format: "esm", external: ["/assets/*"] };
const SCRIPTS = [
  ["site_connect.js", "src/page/index.js", classic],
  ["assets/recorder.js", "src/page/recorder.js", { ...classic, plugins: [ownReads] }],
  ["frame.js", "src/frame/main.js", modules],
  ["assets/chat.js", "src/shared/chat.js", modules],
  ["agent/agent.js", "src/console/main.js", modules],
  ["assets/replay.js", "src/console/replay.js", modules],
  ["privacy/page.js", "src/privacy/page.js", classic],
  ["privacy/privacy.js", "src/privacy/main.js", modules],
];
const COPIES = [
  ["frame.html", "src/frame/frame.html"],
  ["frame.css", "src/frame/frame.css"],
  ["agent/index.html", "src/console/index.html"],
  ["agent/agent.css", "src/console/agent.css"],
  ["privacy/index.html", "src/privacy/index.html"],
  ["privacy/privacy.css", "src/privacy/privacy.css"],
  ["assets/replay.css", "node_modules/@rrweb/replay/dist/style.min.css"],
];

await rm(here("dist"), { recursive: true, force: true });
for (const folder of ["agent", "assets", "privacy"]) await mkdir(here(`dist/${folder}`), { recursive: true });
await Promise.all(COPIES.map(([path, source]) => copyFile(here(source), here(`dist/${path}`))));
await Promise.all(
  SCRIPTS.map(([path, source, options]) =>
    build({ ...options, entryPoints: [here(source)], outfile: here(`dist/${path}`) }),
  ),
);
for (const [path] of SCRIPTS) {
  const text = await readFile(here(`dist/${path}`));
  const zipped = gzipSync(text, { level: 9 });
  console.log(`${path.padEnd(20)} ${String(text.length).padStart(8)} B ${String(zipped.length).padStart(8)} B gzipped`);
}
