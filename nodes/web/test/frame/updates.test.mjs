// The updates that leave through the frame: in order, and after a hole none but a snapshot.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Updates } from "../../src/frame/updates.js";

const LONG = "x".repeat(2_000);

/** Updates whose compression, socket and time the test makes. */
function made() {
  const it = { sent: [], told: [], refused: [], packs: [], timers: [], open: true, buffered: 0 };
  const updates = new Updates({
    packed: (text) => new Promise((done) => it.packs.push({ text, done: (event = { $bin: "z" }) => done(event) })),
    isOpen: () => it.open,
    buffered: () => it.buffered,
    send: (message) => it.sent.push(message) > 0,
    after: (seconds, fun) => it.timers.push({ seconds, fun }),
    tell: (message) => it.told.push(message),
    refused: (what) => it.refused.push(what),
  });
  let n = 0;
  const add = (event = "x", snapshot = false) => updates.add({ t: "update", epoch: 1, n: (n += 1), event, snapshot });
  return { ...it, it, updates, add, numbers: () => it.sent.map((each) => each.n) };
}

const settled = () => new Promise((done) => setImmediate(done));

test("a short one leaves at once, and none overtakes one that is being compressed", async () => {
  const { updates, add, packs, numbers, sent } = made();
  add();
  add(LONG);
  add();
  add(LONG);
  await settled();
  assert.deepEqual(numbers(), [1]);
  assert.equal(packs.length, 1, "one at a time");
  packs[0].done();
  await settled();
  packs[1].done("x");
  await settled();
  packs[2].done();
  await updates.last;
  assert.deepEqual(numbers(), [1, 2, 3, 4]);
  assert.deepEqual(sent[1].event, { $bin: "z" });
  add();
  assert.deepEqual(numbers(), [1, 2, 3, 4, 5], "nothing waits any more");
});

test("what was made before a stop does not leave after it", async () => {
  const { updates, add, packs, numbers } = made();
  add(LONG);
  add(LONG);
  await settled();
  updates.clear();
  packs[0].done();
  await settled();
  add();
  await settled();
  assert.deepEqual(numbers(), [3]);
  assert.equal(updates.made, 3);
});

test("without a socket, or behind a full one, they are dropped, and a snapshot is asked for until it comes", () => {
  const { it, add, told, timers, numbers } = made();
  it.open = false;
  assert.equal(add(), false);
  assert.equal(timers.length, 0, "the welcome is followed by a snapshot");
  it.open = true;
  it.buffered = 5_000_000;
  assert.equal(add(), false);
  it.buffered = 1;
  assert.equal(add(), false, "not behind a hole");
  timers.shift().fun();
  assert.deepEqual(told, [], "not before the socket is empty");
  it.buffered = 0;
  timers.shift().fun();
  assert.deepEqual(told, [{ t: "snapshot" }]);
  assert.equal(add("x", true), true);
  timers.shift().fun();
  assert.equal(timers.length, 0);
  assert.deepEqual(numbers(), [4]);
});

test("one that is too large is refused once, by its bytes, and the page decides what follows", async () => {
  const { updates, add, packs, refused, timers, numbers } = made();
  add(LONG, true);
  await settled();
  packs[0].done(null);
  await updates.last;
  add(LONG, true);
  await settled();
  packs[1].done({ $bin: "z".repeat(3_900_001) });
  await updates.last;
  add(LONG, true);
  await settled();
  packs[2].done("漢".repeat(1_300_001));
  await updates.last;
  updates.clear();
  add(LONG);
  await settled();
  packs[3].done(null);
  await updates.last;
  assert.deepEqual(refused, ["update", "update", "update", "bytes"], "of a change, that it was too much at once");
  assert.equal(add(), false);
  assert.equal(timers.length, 0);
  assert.deepEqual(numbers(), []);
});

test("what the gateway drops is a hole as well", async () => {
  const { updates, add, packs, numbers } = made();
  add(LONG);
  await settled();
  updates.drop();
  packs[0].done();
  await updates.last;
  assert.equal(add(), false);
  assert.equal(add("x", true), true);
  assert.deepEqual(numbers(), [3]);
});
