// Builds the page: one HTML file that loads nothing, and the widget for notebooks, from the same source.
//
//     node build.mjs          writes both into src/twofold/explain; the same source gives the same bytes
//     node build.mjs DIR      writes them into DIR, to be compared

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../src/twofold/explain"));
const PAGE = 250_000; // bytes, at most
const SCRIPT = 60_000; // bytes of the script, gzipped, at most

const common = {
  absWorkingDir: here, bundle: true, minify: true, write: false, target: "es2022", charset: "ascii", legalComments: "none",
  jsx: "automatic", jsxImportSource: "preact", loader: { ".css": "text" }, logLevel: "warning",
};

async function bundle(entry, options) {
  const result = await build({ ...common, entryPoints: [entry], ...options });
  return result.outputFiles[0].text;
}

// What stands inside a script element must not close it.
const inline = (script) => script.trim().replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const read = (path) => JSON.parse(readFileSync(join(here, path), "utf8"));
const assets = read("assets.json");
// JSON as the content of an element: no sign of it may end the element.
const data = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");
// Of the texts, those that only Python's pictures say stay behind.
const isOfPictures = (key) => /^(figure|legend)\./.test(key);
const all = Object.entries(read("../src/twofold/explain/english.json"));
const texts = Object.fromEntries(all.filter(([key]) => !isOfPictures(key)));

// The widget is one module without a document of its own: what the page keeps beside its script, it has inside.
const inside = {
  name: "inside",
  setup(maker) {
    maker.onResolve({ filter: /^(english|assets)$/ }, ({ path }) => ({ path, namespace: "inside" }));
    maker.onLoad({ filter: /.*/, namespace: "inside" }, ({ path }) =>
      ({ contents: JSON.stringify(path === "english" ? texts : assets), loader: "json" }));
  },
};

const script = inline(await bundle("src/main.tsx", { format: "iife" }));
const style = (await build({ ...common, entryPoints: ["src/style.css"], loader: {} })).outputFiles[0].text.trim();
const csp = [
  "default-src 'none'", `script-src ${hash(script)}`, `style-src ${hash(style)}`, "img-src data: blob:",
  "base-uri 'none'", "form-action 'none'",
].join("; ");
const parts = { csp, style, script, texts: data(texts), assets: data(assets) };
const page = readFileSync(join(here, "src/shell.html"), "utf8").trimEnd().concat("\n").replace(/\{(csp|style|script|texts|assets)\}/g, (_, name) => parts[name]);
const widget = await bundle("src/widget.tsx", { format: "esm", plugins: [inside] });

const zipped = gzipSync(script).length;
const size = Buffer.byteLength(page);
if (size > PAGE) throw new Error(`the page has ${size} bytes, and at most ${PAGE} are allowed`);
if (zipped > SCRIPT) throw new Error(`the script has ${zipped} bytes gzipped, and at most ${SCRIPT} are allowed`);
mkdirSync(target, { recursive: true });
writeFileSync(join(target, "page.html"), page);
writeFileSync(join(target, "widget.js"), widget);
console.log(`page.html ${size} bytes, its script ${zipped} gzipped; widget.js ${Buffer.byteLength(widget)}`);
