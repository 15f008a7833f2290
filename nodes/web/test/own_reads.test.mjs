// A library's code after the build: it means the same, and reads nodes by `own`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { withOwnReads } from "../own_reads.mjs";

const FILLER = Array.from({ length: 60 }, (_, index) => `f(x${index}.parentNode);`).join("\n");
const HANDLER = "const wrap = (cb) => (...rest) => { return cb(...rest); };";
const FRAME = `function onceIframeLoaded(iframeEl, listener, iframeLoadTimeout) {
    setTimeout(listener, 0);
    return iframeEl.addEventListener("load", listener);
  }`;
const FUN = `
  function read(node, doc) {
    node.style = "1";
    setTimeout(() => seen.push(node.tagName), 0);
    return [node.classList.contains("x"), node.attributes.length, doc.documentElement.scrollLeft, node.getAttribute("id"), node["style"], this.id, !node.matches];
  }`;

test("reads, calls and chains go through own and method; writes and other objects do not", () => {
  const code = withOwnReads(`${FUN}\n${FRAME}\n${HANDLER}\n${FILLER}`, "/clean.js");
  assert.match(code, /^import \{ guarded, method, own, within \} from "\/clean\.js";/);
  for (const part of [
    'method(own(node, "classList"), "contains")("x")',
    'own(node, "attributes").length',
    'own(own(doc, "documentElement"), "scrollLeft")',
    'method(node, "getAttribute")("id")',
    'node["style"]',
    'node.style = "1"',
    "this.id",
    '!own(node, "matches")',
    'setTimeout((...all) => guarded(() => (() => seen.push(own(node, "tagName")))(...all)), 0)',
    "return within(() => cb(...rest));",
  ]) assert.ok(code.includes(part), part);
});

test("it does the same as before", () => {
  const code = withOwnReads(`${FUN}\n${FRAME}\n${HANDLER}\n${FILLER}`, "/clean.js");
  const [, fun] = /\n\s*(function read[^]*?\n {2}\})/.exec(code);
  const own = (node, name) => node[name];
  const method = (node, name) => node[name].bind(node);
  const read = new Function("own", "method", "setTimeout", "within", `return ${fun}`)(own, method, () => 0, (it) => it());
  const node = { attributes: [1, 2], classList: { contains: (name) => name === "x" }, getAttribute(name) { return name + this.attributes.length; } };
  assert.deepEqual(read.call({ id: 7 }, node, { documentElement: { scrollLeft: 3 } }), [true, 2, 3, "id2", "1", 7, true]);
});

test("the page of a frame is told at once if it is complete, else once it is", () => {
  const code = withOwnReads(`${FUN}\n${FRAME}\n${HANDLER}\n${FILLER}`, "/clean.js");
  const [, fun] = /(function onceIframeLoaded[^]*?\n {2}\})/.exec(code);
  const again = []; // what is asked of the library, which waits for a page that loads
  for (const [inner, told] of [[{ readyState: "complete" }, 1], [{ readyState: "loading" }, 0], [null, 1]]) {
    const timers = [];
    const listening = [];
    let count = 0;
    const frame = { contentDocument: inner, addEventListener: (name) => listening.push(name) };
    const method = (node, name) => node[name].bind(node);
    const once = new Function("method", "setTimeout", "guarded", "again", `return ${fun.replace("return onceIframeLoaded", "return again")}`);
    once(method, (timer) => timers.push(timer), (it) => it(), (...all) => again.push(all))(frame, () => (count += 1), 5_000);
    assert.equal(count, 0, "not before the next turn");
    for (const timer of timers) timer();
    assert.deepEqual([count, listening.length], [told, told], JSON.stringify(inner));
  }
  assert.equal(again.length, 1);
});

test("a library that is not the one that is known is refused", () => {
  for (const code of [FUN, `${FUN}\n${HANDLER}\n${FILLER}`, `${FUN}\n${FRAME}\n${FILLER}`]) {
    assert.throws(() => withOwnReads(code, "/clean.js"), /expected the recorder's library/);
  }
});
