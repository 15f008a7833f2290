// The lines of a chat: once each, in order, whatever way they come.
import assert from "node:assert/strict";
import { test } from "node:test";

import { merged, withLine, withNumber, withSystem } from "../../src/shared/transcript.js";

const line = (n, own = false) => ({ from: "x", text: `t${n}`, id: `i${n}`, n, at: n, own });
const texts = (lines) => lines.map(({ text }) => text);

test("a line shows once, and what is no text is none", () => {
  const one = withLine([], { text: "a", id: "1", n: 4, at: 9, by: "ada", from: "Ada" }, false);
  assert.deepEqual(one, [{ from: "Ada", text: "a", id: "1", own: false, n: 4, at: 9, agent: "ada" }]);
  assert.equal(withLine(one, { text: "a", id: "1" }, false), one);
  assert.equal(withLine(one, { text: 5 }, false), one);
  assert.deepEqual(withLine([], { text: "a", n: "x", at: "y" }, true)[0], { from: "", text: "a", id: undefined, own: true, n: 0, at: 0, agent: undefined });
});

test("a number and a seal come later", () => {
  const own = withLine([], { text: "a", id: "1", at: 3 }, true);
  const [sealed] = withNumber(own, { id: "1", n: 8, at: 4, agent: "ada", seal: "S" });
  assert.deepEqual([sealed.n, sealed.at, sealed.seal, sealed.agent], [8, 4, "S", "ada"]);
  assert.deepEqual(withNumber(own, { id: "2", n: 8 }), own);
});

test("what was kept elsewhere is put in its place; what has no number stays after what it followed", () => {
  const own = { ...line(0, true), id: "mine", text: "mine" };
  const isOwn = ({ id }) => id === "i2";
  assert.deepEqual(texts(merged([line(3), own], [line(1), line(2), line(3), line(4)], isOwn)), ["t1", "t2", "t3", "t4", "mine"]);
  assert.deepEqual(merged([], [line(2)], isOwn)[0].own, true);
  const known = merged([own], [{ ...line(5), id: "mine", seal: "S" }], isOwn);
  assert.deepEqual([known.length, known[0].n, known[0].seal], [1, 5, "S"]);
  const joined = withSystem([], "Ada joined", 1);
  assert.deepEqual(texts(merged([...joined, line(2)], [line(2), line(3)], isOwn)), ["Ada joined", "t2", "t3"]);
});

test("no more than 200 are held", () => {
  let lines = [];
  for (let n = 1; n <= 250; n += 1) lines = withLine(lines, line(n), false);
  assert.deepEqual([lines.length, lines[0].n], [200, 51]);
});
