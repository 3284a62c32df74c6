// Runs the script of the built page without a browser, and compares it with what Python wrote, byte by byte.
//
//     node parity.mjs page.html problems.json        prints what differs; exits with 1 if anything does

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const [pagePath, ...files] = process.argv.slice(2);
const page = readFileSync(pagePath, "utf8");
const element = (start) => {
  const from = page.lastIndexOf(start) + start.length;
  return page.slice(from, page.indexOf("</script>", from));
};
runInThisContext(element("<script>"));
const { twofold } = globalThis;
twofold.setTexts(JSON.parse(element('<script type="application/json" id="texts">')));

let [compared, different] = [0, 0];
function compare(what, found, expected) {
  compared++;
  if (found === expected) return;
  different++;
  if (different > 8) return;
  let at = 0;
  while (at < found.length && found[at] === expected[at]) at++;
  console.log(`${what}, from character ${at}:\n  page   ${found.slice(Math.max(0, at - 60), at + 160)}\n  python ${expected.slice(Math.max(0, at - 60), at + 160)}`);
}

const attempt = (make) => {
  try {
    return make();
  } catch (error) {
    return `${error.sentence ?? error.stack}`;
  }
};

for (const file of files) {
  const text = readFileSync(file, "utf8");
  const lines = text.trim().replace(/^\[\n|\n\]$/g, "").split(",\n");
  JSON.parse(text).forEach(({ trace, views }, i) => {
    const { problem, x, weight, bias } = trace;
    const expected = lines[i].slice('{"trace":'.length, lines[i].lastIndexOf(',"views":'));
    compare(problem, attempt(() => twofold.trace(problem, x, weight, bias)), expected);
    for (const { view, tab, step, layers, description } of views) {
      const found = attempt(() => twofold.describe(problem, x, weight, bias, view, tab, step, layers));
      compare(`${problem}, ${view} ${tab ?? ""} ${step ?? ""}`, found, ascii(JSON.stringify(description)));
    }
  });
}
console.log(`${compared} compared, ${different} different`);
process.exit(different ? 1 : 0);

function ascii(text) {
  return text.replace(/[\u007f-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}
