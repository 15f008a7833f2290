// Whether an agent views the page: the cases of the rules in Python (tests/page_vectors.json), every pair of the table.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { TRANSITIONS, Viewing } from "../../src/page/viewing.js";

const vectors = JSON.parse(readFileSync(new URL("../../../../tests/page_vectors.json", import.meta.url), "utf8"));

/** What must hold at any time. */
function check(viewing) {
  const { state, begun, epoch, ended, stops } = viewing;
  assert.equal(begun === null, state === "idle");
  if (begun) assert.ok(epoch > ended);
  if (state === "viewed" || state === "paused") assert.equal(stops.size, 0);
}

test("updates leave exactly when the rules in Python accept them, through every pair of the table", () => {
  const met = new Set();
  for (const [number, steps] of vectors.entries()) {
    const viewing = new Viewing();
    const told = { start: null, recorder: null };
    for (const [index, [input, running, known]] of steps.entries()) {
      const where = `case ${number}, step ${index}: ${JSON.stringify(input)}`;
      const event = viewing.eventOf(input);
      met.add(`${viewing.state} ${event}`);
      assert.ok(event === "late" || event in TRANSITIONS[viewing.state], `${viewing.state}: ${where}`);
      const waiting = [...viewing.stops.keys()];
      const effects = viewing.handle({ ...input, done: input.id });
      effects.forEach((effect) => follow(told, effect, where));
      check(viewing);
      assert.deepEqual([viewing.running, told.recorder, told.start], [running, running, known], where);
      const resolved = effects.filter((effect) => effect.do === "resolve").map(({ done, ok }) => [done, ok]);
      assert.deepEqual(resolved, expected(input, waiting), where);
    }
  }
  const pairs = Object.entries(TRANSITIONS).flatMap(([state, row]) => Object.keys(row).map((event) => `${state} ${event}`));
  assert.deepEqual(pairs.filter((pair) => !met.has(pair)), [], "pairs that no case has");
});

/** Which stops are resolved, and how: the one that is acknowledged, if it waits; all of another page session. */
function expected({ t, id }, waiting) {
  if (t === "session") return waiting.map((each) => [each, false]);
  return t === "acknowledged" && waiting.includes(id) ? [[id, true]] : [];
}

/** The recorder goes only when it should, and each start that the page is told has one end. */
function follow(told, effect, where) {
  if (effect.do === "record") told.recorder = effect.epoch;
  if (effect.do === "halt") told.recorder = null;
  if (effect.do === "tell_start") {
    assert.equal(told.start, null, where);
    told.start = effect.payload.epoch;
  }
  if (effect.do === "tell_stop") {
    assert.equal(told.start, effect.epoch, where);
    told.start = null;
  }
}

test("what is not in the table changes nothing and is counted", () => {
  const viewing = new Viewing();
  viewing.handle({ t: "start", payload: { epoch: 5 } });
  const late = [{ t: "start", payload: { epoch: 4 } }, { t: "over", epoch: 4 }, { t: "acknowledged", id: 9 }, { t: "code" }];
  for (const input of late) assert.deepEqual(viewing.handle(input), []);
  assert.deepEqual([viewing.state, viewing.running, viewing.ended, viewing.ignored], ["viewed", 5, -1, late.length]);
});

test("what has ended does not begin again", () => {
  const start = (epoch) => ({ t: "start", payload: { epoch } });
  const ends = [[{ t: "over", epoch: 3 }], [{ t: "stop", id: 1 }], [{ t: "welcome", epoch: null }, { t: "code" }], [start(4)]];
  for (const inputs of ends) {
    const viewing = new Viewing();
    for (const input of [start(3), ...inputs]) viewing.handle(input);
    assert.deepEqual([viewing.ended, viewing.eventOf(start(3))], [3, "late"], JSON.stringify(inputs));
  }
});

test("a gateway that is back, and knows of the session, gets a snapshot", () => {
  const viewing = new Viewing();
  viewing.handle({ t: "start", payload: { epoch: 3 } });
  assert.deepEqual(viewing.handle({ t: "welcome", epoch: 3 }), [{ do: "snapshot" }]);
});
