// The frame's way to the gateway: what it says first, what it says again, how it comes back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../../src/frame/connection.js";

/** A connection whose sockets, time and chance the test makes. */
function made(kept = {}) {
  const sockets = [];
  const timers = [];
  const told = [];
  const connection = new Connection({
    instance: "i".repeat(16),
    open: () => {
      const socket = { sent: [], bufferedAmount: 0, send: (text) => socket.sent.push(JSON.parse(text)), close: () => 0 };
      sockets.push(socket);
      return socket;
    },
    after: (seconds, fun) => {
      const timer = { seconds, fun, off: false };
      timers.push(timer);
      return () => (timer.off = true);
    },
    random: () => 0.5,
    kept: { get: (name) => kept[name] ?? null, set: (name, value) => (kept[name] = value) },
    tell: (message) => told.push(message),
  });
  const last = () => sockets.at(-1);
  const say = (message) => last().onmessage({ data: JSON.stringify(message) });
  const welcome = (fields) =>
    say({ t: "welcome", session: "s", token: "t1", resumed: false, missed: false, seq: 0, retained: [], heartbeat_s: 7, ...fields });
  const open = (fields) => {
    last().onopen();
    welcome(fields);
  };
  connection.start({ origin: "https://shop", buttons: ["help"] });
  return { connection, sockets, told, last, say, welcome, open, live: () => timers.filter(({ off }) => !off), kept };
}

test("hello comes first, and what waited follows the welcome, in order", () => {
  const { connection, last, open } = made();
  connection.send({ t: "subscribe", id: 1, filter: "a" });
  connection.send({ t: "publish", topic: "a", payload: 1 });
  connection.send({ t: "subscribe", id: 2, filter: "b" });
  connection.send({ t: "unsubscribe", id: 2 });
  open();
  assert.equal(last().sent[0].t, "hello");
  assert.equal(last().sent[0].token, null);
  assert.deepEqual(last().sent.slice(1).map(({ t, id }) => [t, id]), [["subscribe", 1], ["publish", 1]]);
});

test("a welcome is told with what the page has published before it, which is newer than what the gateway knows", () => {
  const { connection, told, open } = made();
  connection.send({ t: "publish", topic: "~pagesession/show_frame", payload: {} });
  open();
  assert.deepEqual(told.find(({ t }) => t === "welcome").unsaid, [{ topic: "~pagesession/show_frame", payload: {} }]);
  connection.closed(1006);
  connection.dial();
  open();
  assert.deepEqual(told.findLast(({ t }) => t === "welcome").unsaid, [], "once");
});

test("a page that greets again says which subscriptions it has", () => {
  const { connection, last, open } = made();
  connection.hold([{ id: 1, filter: "a" }, { id: 2, filter: "b" }]);
  open();
  connection.hold([{ id: 2, filter: "b" }, { id: 3, filter: "c" }]);
  const said = last().sent.slice(1).map(({ t, id }) => [t, id]);
  assert.deepEqual(said, [["subscribe", 1], ["subscribe", 2], ["unsubscribe", 1], ["subscribe", 3]]);
});

test("after a loss it comes back with its token and what it has seen; subscriptions and stops are said again", () => {
  const { connection, sockets, last, say, open, live, told } = made();
  open();
  connection.send({ t: "subscribe", id: 1, filter: "a" });
  connection.send({ t: "stop", id: 9 });
  say({ t: "message", seq: 4, topic: "~pagesession/x", payload: 1 });
  last().onclose({ code: 1006 });
  assert.deepEqual(told.at(-1), { t: "connection", connected: false, covered: [], missing: [] });
  const [timer] = live();
  assert.equal(timer.seconds, 0.375, "0.5 s, times 0.75");
  timer.fun();
  assert.equal(sockets.length, 2);
  open({ resumed: true });
  assert.deepEqual([last().sent[0].token, last().sent[0].seen], ["t1", 4]);
  assert.deepEqual(last().sent.slice(1).map(({ t, id }) => [t, id]), [["subscribe", 1], ["stop", 9]]);
  say({ t: "stopped", id: 9 });
  assert.deepEqual(told.at(-1), { t: "stopped", id: 9 });
});

test("each try that fails doubles the wait, up to 15 s; after a socket that stood it is short again", () => {
  const { last, live, open } = made();
  const waits = [];
  for (let number = 0; number < 8; number += 1) {
    last().onclose({ code: 1006 });
    waits.push(live().at(-1).seconds);
    live().at(-1).fun();
  }
  assert.deepEqual(waits.map((each) => each / 0.75), [0.5, 1, 2, 4, 8, 15, 15, 15]);
  open();
  live().find(({ seconds }) => seconds === 10).fun();
  last().onclose({ code: 1006 });
  assert.equal(live().at(-1).seconds, 0.375);
});

test("a gateway that drains names how long to spread; one that set a limit is left alone for 30 s", () => {
  const { last, live, open, say } = made();
  open();
  say({ t: "drain", reconnect_s: 8 });
  last().onclose({ code: 1012 });
  assert.equal(live().at(-1).seconds, 4);
  live().at(-1).fun();
  open();
  last().onclose({ code: 4008 });
  assert.equal(live().at(-1).seconds, 30);
});

test("where it may not come back it does not, and says why", () => {
  const { sockets, last, live, open, told, connection } = made();
  open();
  last().onclose({ code: 4003, reason: "pages of this origin may not use this gateway" });
  assert.deepEqual(live(), []);
  assert.deepEqual(told.at(-1).payload, { attempts: 1, reason: "pages of this origin may not use this gateway" });
  connection.hurry();
  assert.equal(sockets.length, 1);
});

test("a rotated token is stored before it is confirmed", () => {
  const { last, say, open, kept } = made();
  open();
  assert.equal(kept.token, "t1");
  say({ t: "token", token: "t2" });
  assert.equal(kept.token, "t2");
  assert.deepEqual(last().sent.at(-1), { t: "token" });
});

test("a refused subscription is an ack that is not ok, and is not asked for again; other refusals are told", () => {
  const { connection, last, say, open, told, live } = made();
  open();
  connection.send({ t: "subscribe", id: 1, filter: "secret/#" });
  say({ t: "refused", id: 1, of: "subscribe", why: "not public" });
  assert.deepEqual(told.at(-1), { t: "ack", id: 1, ok: false, covered: [], missing: [], elapsed_s: 0, error: "not public" });
  say({ t: "refused", id: null, of: "publish", error: "NotAllowed", why: "not public" });
  const payload = { what: "publish", why: "not public", error: "NotAllowed" };
  assert.deepEqual(told.at(-1), { t: "site", topic: "~/site_connect/refused", payload });
  last().onclose({ code: 1006 });
  live().at(-1).fun();
  open();
  assert.deepEqual(last().sent.map(({ t }) => t), ["hello"]);
});

test("updates never wait: without a socket or behind a full one they are dropped, and a snapshot is asked for", () => {
  const { connection, last, open, told, live } = made();
  const update = (snapshot) => connection.send({ t: "update", epoch: 1, event: "x", snapshot });
  assert.equal(update(false), false);
  open();
  last().bufferedAmount = 5_000_000;
  assert.equal(update(false), false);
  last().bufferedAmount = 0;
  assert.equal(update(false), false, "not behind a hole");
  live().find(({ seconds }) => seconds === 0.2).fun();
  assert.deepEqual(told.at(-1), { t: "snapshot" });
  assert.equal(update(true), true);
  assert.equal(update(false), true);
});

test("after a limit nothing is sent but a snapshot, and the page is told", () => {
  const { connection, last, open, told, say } = made();
  const update = (n, snapshot = false) => connection.send({ t: "update", epoch: 1, n, event: "x", snapshot });
  open();
  assert.equal(update(1, true), true);
  say({ t: "limit", what: "bytes", why: "more than 1 MB a second" });
  assert.deepEqual(told.at(-1).payload, { what: "bytes", why: "more than 1 MB a second", error: null });
  assert.equal(update(2), false, "not behind a hole");
  assert.equal(update(3, true), true);
  assert.deepEqual(last().sent.slice(1).map(({ n }) => n), [1, 3]);
});

test("what must arrive is said again after a limit until it is answered, and of pauses the last one only", () => {
  const { connection, last, open, live, say } = made();
  open();
  const publish = (topic) => connection.send({ t: "publish", topic: `~pagesession/${topic}`, payload: {} });
  for (const topic of ["cobrowsing/paused", "chat/message", "else", "cobrowsing/resumed", "chat/message"]) publish(topic);
  say({ t: "done", id: 2 });
  say({ t: "limit", what: "rate", why: "more than 100 messages a second" });
  last().sent.length = 0;
  live().find(({ seconds }) => seconds === 1).fun();
  assert.deepEqual(last().sent.map(({ id, topic }) => [id, topic.split("/").at(-1)]), [[4, "resumed"], [5, "message"]]);
});

test("what waits to be compressed does not leave after a stop", async () => {
  const { connection, last, open } = made();
  open();
  connection.send({ t: "update", epoch: 1, n: 1, event: "x".repeat(5_000), snapshot: true });
  connection.send({ t: "stop", id: 1 });
  await connection.updates.last;
  assert.deepEqual(last().sent.map(({ t }) => t), ["hello", "stop"]);
});

test("a welcome is fresh for a new document, a new session, or after something was missed", () => {
  const { last, open, told, live, say } = made();
  const again = (fields) => {
    last().onclose({ code: 1006 });
    live().at(-1).fun();
    open({ resumed: true, ...fields });
    return told.findLast(({ t }) => t === "welcome").fresh;
  };
  open();
  assert.equal(told.findLast(({ t }) => t === "welcome").fresh, true);
  say({ t: "retained", seq: 1, messages: [] });
  assert.equal(again({}), false);
  assert.equal(again({ missed: true, seq: 7 }), true);
  assert.equal(again({}), false);
  assert.equal(again({ session: "another" }), true);
});

test("a chat message or an answer without its `done` is said again after a loss, with the id it had; others are not", () => {
  for (const name of ["chat/message", "cobrowsing/allow", "cobrowsing/decline"]) {
    const { connection, last, say, open, live } = made();
    const certain = `~pagesession/${name}`;
    open();
    for (const topic of [certain, "~pagesession/x", certain]) connection.send({ t: "publish", topic, payload: {} });
    say({ t: "done", id: 1 });
    last().onclose({ code: 1006 });
    live().at(-1).fun();
    open();
    assert.deepEqual(last().sent.slice(1).map(({ topic, id }) => [topic, id]), [[certain, 3]]);
  }
});

test("a gateway that is silent for two heartbeats is left", () => {
  const { sockets, say, open, live } = made();
  const beat = () => {
    const timer = live().findLast(({ seconds }) => seconds === 7);
    timer.off = true;
    timer.fun();
  };
  open();
  for (let number = 0; number < 5; number += 1) {
    beat();
    say({ t: "beat" });
  }
  beat();
  beat();
  live().forEach(({ seconds }) => assert.ok(seconds > 1, "it does not come back yet"));
  beat();
  live().at(-1).fun();
  assert.equal(sockets.length, 2);
});

test("the next document of the tab goes on where the last one was: what was said in between comes", () => {
  const { last, open, told, say, kept } = made({ token: "t0", seen: 7 });
  last().onopen();
  assert.deepEqual([last().sent[0].token, last().sent[0].seen], ["t0", 7]);
  open({ resumed: true, seq: 9 });
  assert.equal(told[0].fresh, true);
  say({ t: "message", seq: 8, topic: "~pagesession/chat/message", payload: {} });
  assert.equal(told.at(-1).seq, 8);
  assert.equal(kept.seen, 8);
});

test("a state that is in the table of a fresh welcome is not told again by what is said again after it", () => {
  const { say, open, told } = made();
  open({ seq: 5, retained: [{ topic: "~/site_connect/ready", payload: { code: "1" } }] });
  const before = told.length;
  say({ t: "site", seq: 3, topic: "~/site_connect/ready", payload: { code: "1" } });
  assert.equal(told.length, before);
  say({ t: "message", seq: 4, topic: "~pagesession/chat/message", payload: {} });
  say({ t: "site", seq: 6, topic: "~/site_connect/new_code", payload: { code: "2" } });
  assert.deepEqual(told.slice(before).map(({ topic }) => topic), ["~pagesession/chat/message", "~/site_connect/new_code"]);
});

test("what waits is bounded, and what is dropped is told", () => {
  const { connection, told } = made();
  for (let number = 0; number < 1001; number += 1) connection.send({ t: "publish", topic: "a", payload: number });
  assert.equal(told.at(-1).topic, "~/site_connect/refused");
});

test("a frame that was loaded again knows of the updates that the page made without it", () => {
  const { connection, last, say, open } = made();
  connection.hasMade(4);
  open();
  say({ t: "beat" });
  assert.deepEqual(last().sent.at(-1), { t: "beat", n: 4 });
});

test("a beat is answered with the number of the last update, also of one that was dropped", () => {
  const { connection, last, say, open } = made();
  open();
  say({ t: "beat" });
  last().bufferedAmount = 5_000_000;
  connection.send({ t: "update", epoch: 1, n: 7, event: "[]", snapshot: false });
  say({ t: "beat" });
  assert.deepEqual(last().sent.slice(1), [{ t: "beat", n: null }, { t: "beat", n: 7 }]);
});
