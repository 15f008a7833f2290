// A sign that was moved stays in the window, whatever becomes of that.
import assert from "node:assert/strict";
import { test } from "node:test";

import { STEP, byKey, inWindow } from "../../src/page/place.js";

const SIZE = { width: 300, height: 50 };

test("it is moved into the window, and stands at its start where it does not fit", () => {
  const window = { width: 800, height: 600 };
  for (const [from, to] of [
    [[10, 20], [10, 20]],
    [[-5, -9], [0, 0]],
    [[790, 599], [500, 550]],
    [[0.4, 0.6], [0, 1]],
  ]) {
    const place = inWindow({ left: from[0], top: from[1] }, SIZE, window);
    assert.deepEqual([place.left, place.top], to);
  }
  assert.deepEqual(inWindow({ left: 50, top: 50 }, SIZE, { width: 200, height: 40 }), { left: 0, top: 0 });
});

test("arrow keys move it, and no other", () => {
  const from = { left: 100, top: 100 };
  assert.deepEqual(byKey(from, "ArrowLeft"), { left: 100 - STEP, top: 100 });
  assert.deepEqual(byKey(from, "ArrowDown"), { left: 100, top: 100 + STEP });
  for (const key of ["a", "Enter", "toString"]) assert.equal(byKey(from, key), null);
});
