// When a browser opens its next WebSocket: the close codes' rules, the waits.
import assert from "node:assert/strict";
import { test } from "node:test";

import { BackOff, ruleOf } from "../../src/shared/back_off.js";
import { CLOSE_CODES } from "../../src/shared/close_codes.js";

test("every code has a rule that can be followed; one that the table does not have means a lost connection", () => {
  assert.ok(Object.keys(CLOSE_CODES).length > 5);
  for (const [code, { name, reconnect, least_s }] of Object.entries(CLOSE_CODES)) {
    assert.ok(name && ["back_off", "never"].includes(reconnect) && least_s >= 0, code);
    assert.equal(ruleOf(Number(code)), CLOSE_CODES[code]);
  }
  assert.deepEqual([ruleOf(1006).reconnect, ruleOf(4999).reconnect], ["back_off", "back_off"]);
});

test("a wait lies between half and all of 0.5 s, doubled each time up to 15 s, and begins again", () => {
  for (const [random, share] of [[0, 0.5], [0.5, 0.75]]) {
    const backOff = new BackOff(() => random);
    const waits = Array.from({ length: 7 }, () => backOff.wait() / share);
    assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 15, 15]);
    backOff.restart();
    assert.equal(backOff.wait(), 0.5 * share);
  }
});

test("the least wait that a rule names is kept to", () => {
  const backOff = new BackOff(() => 0);
  assert.deepEqual([backOff.wait(30), backOff.wait(0.1)], [30, 0.5]);
});
