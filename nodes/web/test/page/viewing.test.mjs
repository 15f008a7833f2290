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
  if (["asked", "viewed", "paused"].includes(state)) assert.equal(stops.size, 0);
  if (state !== "doubted" && begun) assert.equal(begun.t === "ask", state === "asked");
  assert.equal(viewing.request, state === "asked" ? begun : null);
}

test("updates leave exactly when the rules in Python accept them, through every pair of the table", () => {
  const met = new Set();
  for (const [number, steps] of vectors.entries()) {
    const viewing = new Viewing();
    const told = { start: null, request: null, recorder: null };
    for (const [index, [input, running, known, asked]] of steps.entries()) {
      const where = `case ${number}, step ${index}: ${JSON.stringify(input)}`;
      const event = viewing.eventOf(input);
      met.add(`${viewing.state} ${event}`);
      assert.ok(event === "late" || event in TRANSITIONS[viewing.state], `${viewing.state}: ${where}`);
      const waiting = [...viewing.stops.keys()];
      const effects = viewing.handle({ ...input, done: input.id });
      effects.forEach((effect) => follow(told, effect, where));
      check(viewing);
      assert.deepEqual([viewing.running, told.recorder, told.start], [running, running, known], where);
      assert.equal(told.request, asked, where);
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

/** The recorder goes only when it should; each start and each request that the page is told has one end. */
function follow(told, effect, where) {
  if (effect.do === "record") told.recorder = effect.epoch;
  if (effect.do === "halt") told.recorder = null;
  if (effect.do === "tell_ask") {
    assert.deepEqual([told.request, told.start], [null, null], where);
    told.request = effect.payload.epoch;
  }
  if (effect.do === "tell_declined") {
    assert.equal(told.request, effect.payload.epoch, where);
    told.request = null;
  }
  if (effect.do === "tell_start") {
    assert.ok(told.request === null || told.request === effect.payload.epoch, where);
    assert.equal(told.start, null, where);
    told.request = null;
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

const ask = (epoch) => ({ t: "ask", payload: { epoch, agent: "ada", name: "Ada", capability: "view", by: "code" } });
const start = (epoch) => ({ t: "start", payload: { epoch, agent: "ada" } });
const did = (viewing, input) => viewing.handle(input).map((effect) => effect.do);

test("a request records nothing before it is allowed, in its own epoch", () => {
  const viewing = new Viewing();
  assert.deepEqual(did(viewing, ask(3)), ["tell_ask"]);
  assert.deepEqual([viewing.state, viewing.running, viewing.request.payload.name], ["asked", null, "Ada"]);
  assert.deepEqual(did(viewing, ask(3)), [], "told once");
  assert.deepEqual(did(viewing, start(2)), [], "a start of an older epoch");
  assert.deepEqual(did(viewing, start(3)), ["tell_start", "record"]);
  assert.equal(viewing.running, 3);
});

test("what was declined does not begin, whatever comes late", () => {
  for (const end of [{ t: "decline", epoch: 3 }, { t: "stop", id: 1 }, { t: "over", epoch: 3, reason: "timeout" }]) {
    const viewing = new Viewing();
    viewing.handle(ask(3));
    const [declined] = viewing.handle(end).filter((effect) => effect.do === "tell_declined");
    const reason = end.t === "over" ? "timeout" : "declined";
    assert.deepEqual(declined.payload, { epoch: 3, agent: "ada", capability: "view", reason });
    assert.deepEqual([viewing.state, viewing.eventOf(start(3)), viewing.eventOf(ask(3))], ["idle", "late", "late"]);
  }
});

test("a decline that crosses the start ends what has begun, and one of another epoch does nothing", () => {
  const viewing = new Viewing();
  for (const input of [ask(3), start(3)]) viewing.handle(input);
  assert.deepEqual(did(viewing, { t: "decline", epoch: 2 }), []);
  assert.deepEqual(did(viewing, { t: "decline", epoch: 3 }), ["halt", "tell_stop"]);
  assert.equal(viewing.running, null);
});

test("a request is kept while another gateway is found, until that says that there is a code", () => {
  const viewing = new Viewing();
  viewing.handle(ask(3));
  assert.deepEqual(did(viewing, { t: "welcome", epoch: null, asked: null }), []);
  assert.equal(viewing.state, "asked");
  assert.deepEqual(did(viewing, { t: "code" }), ["tell_declined"]);
});
