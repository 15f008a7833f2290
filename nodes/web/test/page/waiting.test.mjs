// Events that go together, and how often a long text is told.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Waiting } from "../../src/page/waiting.js";

const input = (id, text) => ({ type: 3, data: { source: 5, id, text } });
const other = (n) => ({ type: 3, data: { source: 0, n } });

test("events are taken together, in order; of a field the newest input alone", () => {
  const waiting = new Waiting();
  assert.equal(waiting.due, null);
  waiting.add(input(1, "a"), 0);
  waiting.add(other(1), 5);
  waiting.add(input(2, "x"), 6);
  waiting.add(input(1, "ab"), 10);
  assert.equal(waiting.due, 40, "a newer one waits no longer than the one in whose place it came");
  assert.deepEqual(waiting.take(40), [other(1), input(2, "x"), input(1, "ab")]);
  assert.equal(waiting.due, null);
});

test("a long text is told as often as its length allows, and its newest always", () => {
  const waiting = new Waiting();
  const long = "*".repeat(50_000); // so, each second
  const told = [];
  let now = 0;
  for (; now < 5000; now += 10) {
    waiting.add(input(1, long + now), now);
    if (waiting.due <= now) told.push(...waiting.take(now));
  }
  assert.ok(told.length >= 5 && told.length <= 6, String(told.length));
  assert.deepEqual(waiting.take(now + 2000), [input(1, `${long}${now - 10}`)]);
  waiting.add(input(2, long), now);
  waiting.add(other(1), now);
  assert.equal(waiting.due, now + 40, "another field is told at once");
});

test("a long text that waits keeps nothing else waiting", () => {
  const waiting = new Waiting();
  const long = "*".repeat(50_000);
  waiting.add(input(1, long), 0);
  waiting.take(40);
  waiting.add(input(1, long), 50);
  waiting.add(other(1), 60);
  assert.deepEqual(waiting.take(100), [other(1)]);
  assert.equal(waiting.due, 40 + 1000);
  waiting.clear();
  assert.equal(waiting.due, null);
});
