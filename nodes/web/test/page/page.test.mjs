// One page: what it may publish, who is told, and what co-browsing does to it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "../../src/page/page.js";

/** A page whose wishes are written down. */
function made() {
  const told = [];
  const done = [];
  const page = new Page({
    frame: (message) => told.push(message),
    wantFrame: () => done.push("frame"),
    view: (view) => done.push(view),
    follow: ({ view }) => done.push(view),
    record: (epoch) => done.push(`record ${epoch}`),
    stopRecording: () => done.push("stop"),
    attend: () => (done.push("attend"), "minimised"),
    attended: () => done.push("attended"),
    seen: () => done.push("seen"),
    pause: () => done.push("pause"),
    held: (why) => done.push(`held ${why}`),
    rules: (rules) => done.push(`rules ${rules}`),
    snapshot: () => done.push("snapshot"),
    refused: (what) => (done.push(`refused ${what}`), what === "update"), // as the recording says by itself why
    later: (fun) => fun(),
    report: (error) => done.push(error.message),
  });
  const heard = (filter) => {
    const messages = [];
    page.subscribe(filter, ({ topic, payload, retained }) => messages.push([topic, payload, retained]));
    return messages;
  };
  const start = (epoch) => page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/start", payload: { epoch, agent: "ada" } });
  const stop = (epoch) => page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/stop", payload: { epoch } });
  const welcome = (fields) => page.fromFrame({ t: "welcome", session: "s1", retained: [], fresh: true, ...fields });
  const says = (name, payload) => page.fromFrame({ t: "message", topic: `~pagesession/cobrowsing/${name}`, payload });
  const ask = (epoch, more) => says("asked", { epoch, agent: "ada", name: "Ada", capability: "view", by: "code", ...more });
  return { page, told, done, heard, start, stop, welcome, says, ask };
}

/** Let what waits for promises go on. */
const settled = () => new Promise((done) => setImmediate(done));

test("what is local stays here, is acked at once, and may be anything", () => {
  const { page, told, heard } = made();
  const acks = [];
  const messages = heard("~/#");
  page.subscribe("~/a", () => 0, (ack) => acks.push(ack.ok));
  const anything = { fun: () => 0 };
  page.publish("~/a", anything);
  assert.deepEqual(told, []);
  assert.deepEqual(acks, [true]);
  assert.equal(messages[0][1], anything);
});

test("what a page retains is told to its subscribers that come later, marked, before their ack, until it is cleared", () => {
  const { page, told, heard } = made();
  const live = heard("~/#");
  const value = { n: [1] };
  page.publish("~/a", "old", { retain: true });
  page.publish("~/a", value, { retain: true });
  page.publish("~/b", 1, { retain: true });
  page.publish("~/b", null, { retain: true });
  page.publish("~/c/d", 2, { retain: true, expires_s: 60 });
  page.publish("~/e", 3, { retain: true, expires_s: 1e-9 });
  page.publish("~/f", 4);
  value.n.push(2);
  assert.deepEqual(live.map(([, , retained]) => retained), Array(7).fill(false), "what comes live is not marked");
  const order = [];
  page.subscribe("~/#", ({ topic, payload, retained }) => order.push([topic, payload, retained]), (ack) => order.push(ack.ok));
  assert.deepEqual(order, [["~/a", { n: [1] }, true], ["~/c/d", 2, true], true]);
  assert.deepEqual(heard("~/+"), [["~/a", { n: [1] }, true]]);
  assert.deepEqual([...heard("#"), ...heard("+/a")], [], "no leading wildcard takes ~");
  assert.throws(() => page.publish("~/g", 1n, { retain: true }), { name: "LocalWireError" });
  assert.deepEqual(told.filter(({ t }) => t === "publish"), []);
});

test("what is retained beyond the page is for the fabric, and asked for there", () => {
  const { page, told, heard } = made();
  page.publish("a/b", 1, { retain: true, expires_s: 5 });
  page.publish("~pagesession/x", 2, { retain: true });
  const id = page.subscribe("a/+", () => 0, undefined, { retained: true });
  assert.deepEqual(told, [
    { t: "publish", topic: "a/b", payload: 1, retain: true, expires_s: 5 },
    { t: "publish", topic: "~pagesession/x", payload: 2, retain: true },
    { t: "subscribe", id, filter: "a/+", retained: true },
  ]);
  assert.deepEqual(page.beyond(), [{ id, filter: "a/+", retained: true }]);
  assert.deepEqual(heard("~pagesession/#"), [["~pagesession/x", 2, true]]);
  assert.deepEqual(heard("a/#"), []);
  const messages = [];
  const other = page.subscribe("a/#", ({ payload, retained }) => messages.push([payload, retained]));
  page.fromFrame({ t: "message", ids: [other], topic: "a/b", payload: 1, retained: true, number: 1, publisher: "7" });
  page.fromFrame({ t: "message", ids: [other], topic: "a/b", payload: 2, number: 2, publisher: "7" });
  assert.deepEqual(messages, [[1, true], [2, false]]);
});

test("what is of the session is told here at once and goes to the frame; the fabric's only to the frame", () => {
  const { page, told, heard } = made();
  const messages = heard("~pagesession/#");
  const others = heard("a/#");
  page.publish("~pagesession/x", { n: 1 });
  page.publish("a/b", 2);
  assert.deepEqual(messages, [["~pagesession/x", { n: 1 }, false]]);
  assert.deepEqual(others, []);
  assert.deepEqual(told.slice(2), [
    { t: "publish", topic: "~pagesession/x", payload: { n: 1 } },
    { t: "publish", topic: "a/b", payload: 2 },
  ]);
  page.fromFrame({ t: "message", ids: [2], topic: "a/b", payload: 2, number: 1, publisher: "7" });
  assert.deepEqual(others, [["a/b", 2, false]]);
});

test("topics that are named like what every object has are topics like others", () => {
  const { page, told, done } = made();
  for (const topic of ["toString", "constructor", "__proto__"]) page.publish(topic, 1);
  assert.deepEqual(told.map(({ topic }) => topic), ["toString", "constructor", "__proto__"]);
  assert.deepEqual(done, [], "nothing is asked of the frame");
});

test("what may not be published is refused, and nothing happens", () => {
  const { page, told } = made();
  const decided = ["asked", "declined", "start", "update", "shown", "paused", "resumed"].map((name) => `~pagesession/cobrowsing/${name}`);
  for (const topic of ["$x", "~other/x", ...decided]) {
    assert.throws(() => page.publish(topic), { name: "ScopeError" }, topic);
  }
  assert.throws(() => page.publish("a/+"), { name: "InvalidTopic" });
  assert.throws(() => page.publish("a", 1n), { name: "LocalWireError" });
  assert.throws(() => page.subscribe("a#", () => 0), { name: "InvalidFilter" });
  assert.throws(() => page.subscribe("a"), { name: "TypeError" });
  assert.deepEqual(told, []);
});

test("no topic under ~/ comes in from the frame, and none is published for it", () => {
  const { page, heard } = made();
  const messages = heard("~/#");
  page.fromFrame({ t: "message", topic: "~/x", payload: 1 });
  page.fromFrame({ t: "act", topic: "~/x", payload: 1 });
  assert.deepEqual(messages, []);
  page.fromFrame({ t: "site", name: "ready", payload: { code: "1" } });
  assert.deepEqual(messages, [["~/site_connect/ready", { code: "1" }, false]]);
});

test("an ack is told once, a refusal as one that is not ok", () => {
  const { page } = made();
  const acks = [];
  const id = page.subscribe("a", () => 0, ({ ok, error }) => acks.push([ok, error]));
  const ack = { t: "ack", id, ok: false, covered: [], missing: [], elapsed_s: 0, error: "not public" };
  page.fromFrame(ack);
  page.fromFrame(ack);
  assert.deepEqual(acks, [[false, "not public"]]);
});

test("a late subscriber is told what is retained; a page that was loaded again is told as soon as it is welcome", () => {
  const { heard, welcome, page } = made();
  const early = heard("~/site_connect/ready");
  const retained = [{ name: "ready", payload: { code: "12" } }];
  welcome({ retained });
  welcome({ retained });
  const late = heard("~/site_connect/+");
  assert.deepEqual(early, [["~/site_connect/ready", { code: "12" }, true]]);
  assert.deepEqual(late, early);
  page.fromFrame({ t: "retained", messages: [] });
  assert.deepEqual(heard("~/site_connect/#"), []);
});

test("updates leave only while co-browsing runs, and a stop ends the recorder before anything else", async () => {
  const { page, told, done, start, heard } = made();
  const stops = heard("~pagesession/cobrowsing/stop");
  assert.equal(page.sendUpdate("x", true), false);
  start(3);
  assert.deepEqual(done, ["record 3"]);
  assert.equal(page.sendUpdate("x", true), true);
  assert.deepEqual(told.at(-1), { t: "update", epoch: 3, n: 1, event: "x", snapshot: true });
  const over = page.stopSession();
  assert.equal(done[1], "stop");
  assert.equal(page.sendUpdate("y", false), false);
  assert.deepEqual(stops, [["~pagesession/cobrowsing/stop", { epoch: 3 }, false]]);
  page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/stop", payload: { epoch: 3 } });
  assert.equal(stops.length, 1, "told once");
  page.fromFrame({ t: "stopped", id: told.at(-1).id });
  assert.equal(await over, true);
});

test("what was refused is told to the recording: it may have been an update", () => {
  const { page, done } = made();
  for (const what of ["trigger", "bytes"]) page.fromFrame({ t: "site", name: "refused", payload: { what, why: "" } });
  assert.deepEqual(done, ["refused trigger", "refused bytes"]);
  const heard = [];
  page.subscribe("~/site_connect/refused", ({ payload }) => heard.push(payload.what));
  for (const what of ["update", "bytes"]) page.fromFrame({ t: "site", name: "refused", payload: { what, why: "" } });
  assert.deepEqual(heard, ["bytes"], "the site hears once of a page that is too large");
});

test("a late start of a session that is over starts nothing; the next one does", () => {
  const { done, start, stop } = made();
  start(3);
  stop(3);
  start(3);
  start(5);
  assert.deepEqual(done, ["record 3", "stop", "record 5"]);
});

test("a stop before anything was known ends what was running: its start starts nothing", () => {
  const { page, done, start, stop } = made();
  page.stopSession();
  start(3);
  assert.deepEqual(done, ["stop"]);
  stop(3);
  page.fromFrame({ t: "stopped", id: 1 });
  assert.deepEqual(done, ["stop"]);
});

test("a stop while nothing ran does not keep the next session from starting", () => {
  const { page, done, start } = made();
  page.stopSession();
  start(3);
  page.fromFrame({ t: "stopped", id: 1 });
  assert.deepEqual(done, ["stop", "record 3"]);
});

test("a page that is loaded again goes on with the co-browsing; back from a lost socket it sends a snapshot", () => {
  const { done, welcome } = made();
  const retained = [{ topic: "~pagesession/cobrowsing/start", payload: { epoch: 4, agent: "ada" } }];
  welcome({ retained });
  assert.deepEqual(done, ["record 4"]);
  welcome({ retained, fresh: false });
  assert.deepEqual(done, ["record 4", "snapshot"]);
});

test("in another session nothing of the one before goes on, and its epochs say nothing", async () => {
  const { page, done, welcome, start } = made();
  welcome({});
  start(7);
  const over = page.stopSession();
  welcome({ session: "s2" });
  assert.equal(await over, false, "nobody will acknowledge it");
  start(1);
  assert.deepEqual(done, ["record 7", "stop", "record 1"]);
});

test("a gateway that does not know of the co-browsing yet: nothing leaves until it says that it goes on", () => {
  const { page, done, welcome, start, heard } = made();
  const told = heard("~pagesession/cobrowsing/+");
  welcome({});
  start(2);
  welcome({ fresh: false });
  assert.deepEqual(done, ["record 2", "stop"]);
  assert.equal(page.sendUpdate("x", false), false);
  start(2);
  assert.deepEqual(done, ["record 2", "stop", "record 2"]);
  assert.equal(told.length, 1, "the page was told of its start before");
  welcome({ fresh: false });
  page.fromFrame({ t: "site", name: "ready", payload: { code: "123" } });
  assert.deepEqual(told.at(-1), ["~pagesession/cobrowsing/stop", { epoch: 2 }, false], "a code says that it is over");
});

test("a stop that nobody heard of while there was no socket is told when there is one again", () => {
  const { page, done, welcome, start, heard } = made();
  const told = heard("~pagesession/cobrowsing/+");
  welcome({});
  start(2);
  welcome({ retained: [{ topic: "~pagesession/cobrowsing/stop", payload: { epoch: 2 } }] });
  assert.deepEqual(told.at(-1), ["~pagesession/cobrowsing/stop", { epoch: 2 }, false]);
  assert.deepEqual(done, ["record 2", "stop"]);
  page.fromFrame({ t: "site", name: "ready", payload: { code: "123" } });
  assert.equal(told.length, 2, "told once");
});

test("a start that comes while two stops are under way starts once both are over", () => {
  const { page, done, start } = made();
  page.stopSession();
  page.stopSession();
  start(3);
  page.fromFrame({ t: "stopped", id: 1 });
  assert.deepEqual(done, ["stop", "stop"]);
  page.fromFrame({ t: "stopped", id: 2 });
  assert.deepEqual(done, ["stop", "stop", "record 3"]);
});

test("a stop covers a session that began before the gateway heard of the stop, also when one was over before", () => {
  const { page, done, start, stop } = made();
  start(3);
  stop(3);
  page.stopSession();
  start(4);
  stop(4);
  page.fromFrame({ t: "stopped", id: 1 });
  assert.deepEqual(done, ["record 3", "stop", "stop"]);
});

test("an old start does not undo a newer one", () => {
  const { page, done, start } = made();
  start(5);
  start(3);
  assert.deepEqual(done, ["record 5"]);
  page.sendUpdate("x", true);
  assert.equal(page.viewing.ignored, 1);
});

test("a subscriber that comes after a stop is not told of the start, even if the gateway's table names it still", () => {
  const { page, start, heard } = made();
  page.fromFrame({ t: "retained", messages: [{ topic: "~pagesession/cobrowsing/start", payload: { epoch: 3 } }] });
  assert.deepEqual(heard("~pagesession/cobrowsing/start"), [], "not begun here");
  start(3);
  assert.equal(heard("~pagesession/cobrowsing/start").length, 1);
  page.stopSession();
  assert.deepEqual(heard("~pagesession/cobrowsing/start"), []);
});

test("a page update has one number, for the agent and for who listens on the page", () => {
  const { page, told, start, heard } = made();
  const updates = heard("~pagesession/cobrowsing/update");
  start(3);
  page.sendUpdate("x", true);
  page.sendUpdate("y", false);
  start(4);
  page.sendUpdate("z", true);
  const sent = told.filter(({ t }) => t === "update").map(({ epoch, n }) => [epoch, n]);
  assert.deepEqual(sent, [[3, 1], [3, 2], [4, 1]]);
  assert.deepEqual(updates.map(([, { epoch, n }]) => [epoch, n]), sent);
});

test("a stop while the gateway does not know of the co-browsing is one all the same", () => {
  const { page, done, welcome, start } = made();
  welcome({});
  start(2);
  welcome({ fresh: false });
  page.stopSession();
  start(2);
  assert.deepEqual(done, ["record 2", "stop", "stop"]);
});

test("show, minimise and hide change the frame, no matter who says so", () => {
  const { page, done } = made();
  page.publish("~pagesession/show_frame");
  page.fromFrame({ t: "message", topic: "~pagesession/minimize_frame", payload: {} });
  page.fromFrame({ t: "act", topic: "~pagesession/hide_frame", payload: {} });
  page.publish("~/site_connect/load_frame");
  assert.deepEqual(done, ["frame", "shown", "minimised", "frame", "hidden", "frame"]);
});

test("a callback that throws harms no other, and callbacks are called one at a time", () => {
  const { page, done } = made();
  const order = [];
  page.subscribe("~/a", () => {
    page.publish("~/b");
    order.push("a");
    throw new Error("oh");
  });
  page.subscribe("~/a", () => order.push("a2"));
  page.subscribe("~/b", () => order.push("b"));
  page.publish("~/a");
  assert.deepEqual(order, ["a", "a2", "b"]);
  assert.deepEqual(done, ["oh"]);
});

test("while something is in the way nothing leaves; both sides are told why, again to an agent that asks", () => {
  const { page, told, done, heard, start } = made();
  const messages = heard("~pagesession/cobrowsing/#");
  page.hindered("too early: nobody views it");
  start(3);
  page.hindered("The sign is hidden.");
  page.hindered("The sign is hidden.");
  assert.equal(page.sendUpdate("[]", false), false);
  const ask = () => page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/snapshot_request", payload: { epoch: 3 } });
  for (let times = 0; times < 6; times += 1) ask(); // an agent does so twice a second
  page.hindered(null);
  assert.equal(page.sendUpdate("[]", true), true);
  assert.deepEqual(done, ["record 3", "pause", ...Array(6).fill("snapshot"), "record 3"]);
  const published = told.filter(({ t }) => t === "publish").map(({ topic, payload }) => [topic.split("/").at(-1), payload]);
  const paused = ["paused", { epoch: 3, why: "The sign is hidden." }];
  assert.deepEqual(published, [paused, paused, ["resumed", { epoch: 3 }]]);
  assert.deepEqual(messages.map(([topic]) => topic.split("/").at(-1)).filter((name) => name.endsWith("ed")), ["paused", "paused", "resumed"]);
});

test("while the recorder holds everything back by rules, nothing leaves; both sides are told that the site does so", () => {
  const { page, told, done, start } = made();
  page.held("Paused by the site: nobody views it");
  start(3);
  page.held("Paused by the site: payment page");
  assert.equal(page.sendUpdate("[]", false), false);
  const ask = () => page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/snapshot_request", payload: { epoch: 3 } });
  for (let times = 0; times < 6; times += 1) ask();
  page.hindered("The sign is hidden.");
  page.hindered(null); // another recorder begins, and says by itself whether it holds back
  assert.equal(page.sendUpdate("[]", true), true);
  page.held("Paused by the site: payment page");
  page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/shown", payload: { epoch: 3 } });
  assert.equal(done.includes("seen"), false, "the console's word is of before");
  page.held(null);
  assert.equal(page.sendUpdate("[]", true), true);
  const published = told.filter(({ t }) => t === "publish").map(({ topic, payload }) => [topic.split("/").at(-1), payload]);
  const held = ["paused", { epoch: 3, why: "Paused by the site: payment page", by: "site" }];
  const hidden = ["paused", { epoch: 3, why: "The sign is hidden." }];
  const over = ["resumed", { epoch: 3 }];
  assert.deepEqual(published, [held, held, hidden, over, held, over]);
  const words = "held Paused by the site: payment page";
  const wanted = done.filter((each) => each !== "snapshot");
  assert.deepEqual(wanted, ["record 3", words, "pause", "record 3", words, "held null"]);
});

test("the operator's rules are there before anything is recorded, and whenever they are new", () => {
  const { page, done } = made();
  const retained = [{ topic: "~pagesession/cobrowsing/start", payload: { epoch: 3 } }];
  page.fromFrame({ t: "welcome", session: "s", retained, fresh: true, rules: "first" });
  page.fromFrame({ t: "rules", rules: "second" });
  assert.deepEqual(done, ["rules first", "record 3", "rules second"]);
});

test("that the console shows the page is heard for the epoch that runs", () => {
  const { page, done, start } = made();
  start(3);
  const shown = (epoch) => page.fromFrame({ t: "message", topic: "~pagesession/cobrowsing/shown", payload: { epoch } });
  shown(2);
  assert.deepEqual(done, ["record 3"]);
  shown(3);
  assert.deepEqual(done, ["record 3", "seen"]);
});

test("a document that was replaced is recorded afresh once the frame is back", () => {
  const { page, done, start, welcome } = made();
  start(3);
  page.replaced();
  assert.deepEqual(done, ["record 3"]);
  welcome({ fresh: false, retained: [{ topic: "~pagesession/cobrowsing/start", payload: { epoch: 3 } }] });
  assert.deepEqual(done, ["record 3", "record 3"]);
  welcome({ fresh: false, retained: [{ topic: "~pagesession/cobrowsing/start", payload: { epoch: 3 } }] });
  assert.deepEqual(done, ["record 3", "record 3", "snapshot"]);
});

test("a request is told, the frame asks, and only a start of its epoch records", () => {
  const { page, told, done, heard, ask, start } = made();
  const messages = heard("~pagesession/cobrowsing/+");
  ask(3);
  assert.deepEqual(messages.map(([topic, { epoch }]) => [topic, epoch]), [["~pagesession/cobrowsing/asked", 3]]);
  assert.deepEqual(done, ["attend", "frame", "shown"]);
  assert.equal(page.sendUpdate("x", true), false);
  page.fromFrame({ t: "act", topic: "~pagesession/cobrowsing/allow", payload: { epoch: 3 } });
  assert.deepEqual(told.at(-1), { t: "publish", topic: "~pagesession/cobrowsing/allow", payload: { epoch: 3 } });
  assert.ok(!done.includes("record 3"), "the gateway decides");
  start(3);
  assert.deepEqual(done.slice(3), ["attended", "record 3"]);
  assert.ok(!done.includes("minimised"), "the frame stays, and says that the page is viewed");
});

test("a decline counts before any network, and the frame is as it was before", () => {
  const { page, told, done, heard, ask, start, says } = made();
  const messages = heard("~pagesession/cobrowsing/declined");
  ask(3);
  page.publish("~pagesession/cobrowsing/decline", { epoch: 2 });
  assert.deepEqual(messages, []);
  page.publish("~pagesession/cobrowsing/decline", { epoch: 3 });
  assert.deepEqual(messages[0][1], { epoch: 3, agent: "ada", capability: "view", reason: "declined" });
  assert.deepEqual(done.slice(-3), ["attended", "frame", "minimised"]);
  start(3);
  says("declined", { epoch: 3, reason: "declined" });
  assert.ok(!done.includes("record 3") && messages.length === 1);
  assert.equal(told.at(-1).topic, "~pagesession/minimize_frame");
});

test("a stop while an agent asks declines", () => {
  const { page, heard, ask, start, done } = made();
  const messages = heard("~pagesession/cobrowsing/declined");
  ask(3);
  page.stopSession();
  assert.equal(messages[0][1].reason, "declined");
  start(3);
  assert.ok(!done.includes("record 3"));
});

test("a site asks by itself: only true allows, and the frame does not ask", async () => {
  const answers = [[true, "allow"], [false, "decline"], ["yes", "decline"], [undefined, "decline"], [Promise.resolve(true), "allow"]];
  for (const [answer, wanted] of answers) {
    const { page, told, done, ask } = made();
    const requests = [];
    page.onConsent((request) => (requests.push(request), answer));
    assert.deepEqual(told, [{ t: "consent", own: true }]);
    ask(3);
    await settled();
    assert.deepEqual(requests, [{ epoch: 3, agent: "ada", name: "Ada", capability: "view", by: "code" }]);
    assert.deepEqual(told[1], { t: "publish", topic: `~pagesession/cobrowsing/${wanted}`, payload: { epoch: 3 } });
    assert.deepEqual(done, []);
  }
});

test("a dialog that throws, or whose promise fails, declines and is reported", async () => {
  const fails = [() => { throw new Error("broken"); }, () => Promise.reject(new Error("broken"))];
  for (const fail of fails) {
    const { page, told, done, ask } = made();
    page.onConsent(fail);
    ask(3);
    await settled();
    assert.equal(told[1].topic, "~pagesession/cobrowsing/decline");
    assert.deepEqual(done, ["broken"]);
  }
  assert.throws(() => made().page.onConsent("yes"), { name: "TypeError" });
});

test("an answer that comes after the request is over says nothing", async () => {
  const { page, told, ask, says } = made();
  let answer = null;
  page.onConsent(() => new Promise((done) => (answer = done)));
  ask(3);
  await settled();
  says("declined", { epoch: 3, reason: "timeout" });
  ask(4);
  const before = told.length;
  answer(true); // the second dialog is open, and this is its answer
  await settled();
  assert.deepEqual(told.slice(before).map(({ payload }) => payload), [{ epoch: 4 }]);
  says("declined", { epoch: 4, reason: "withdrawn" });
  assert.equal(told.length, before + 1);
});

test("a dialog that comes while the frame asks takes over, and null gives it back", () => {
  const { page, told, done, ask } = made();
  ask(3);
  page.onConsent(() => new Promise(() => 0));
  assert.deepEqual(told.at(-2), { t: "consent", own: true });
  assert.deepEqual(done.slice(-3), ["attended", "frame", "minimised"]);
  page.onConsent(null);
  assert.ok(told.some((message) => message.t === "consent" && message.own === false));
  assert.deepEqual(done.slice(-3), ["attend", "frame", "shown"]);
});

test("a document that is loaded again hears of a request, a late subscriber too, and neither of one that was answered", () => {
  const { page, done, heard, welcome } = made();
  const payload = { epoch: 3, agent: "ada", name: "Ada", capability: "view", by: "chat" };
  welcome({ retained: [{ topic: "~pagesession/cobrowsing/asked", payload }] });
  assert.deepEqual(done, ["attend", "frame", "shown"]);
  assert.deepEqual(heard("~pagesession/cobrowsing/asked"), [["~pagesession/cobrowsing/asked", payload, true]]);
  page.publish("~pagesession/cobrowsing/decline", { epoch: 3 });
  assert.deepEqual(heard("~pagesession/cobrowsing/asked"), []);
});
