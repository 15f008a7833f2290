// What the agent's console knows, from what the gateway said and what the agent did.
import assert from "node:assert/strict";
import { test } from "node:test";

import { START, activate, address, addressed, canAct, dismissed, engaged, heard, looked, picture, stopped, waiting } from "../../src/console/story.js";
import { refusalWords, rested, resting, whyNotAsk, withMessage, withdrawn } from "../../src/console/story.js";

const WELCOME = { t: "welcome", agent: "ada", name: "Ada", buttons: ["help"], serving: ["help"], available: true, pages: [] };
const state = (version, changes) => ({
  session: "s1",
  version,
  cobrowse: "idle",
  epoch: 1,
  agent: null,
  chat: "idle",
  chat_agent: null,
  button: null,
  gone: false,
  ...changes,
});
const event = (name, fields) => ({ t: "event", event: name, session: "s1", ...fields });
const told = (...said) => said.reduce((desk, each) => heard(desk, each), heard(START, WELCOME));

test("a page that is joined comes to the screen, and is live with its snapshot", () => {
  const joined = told(event("joined", { epoch: 1 }), { t: "state", state: state(2, { agent: "ada", cobrowse: "joined" }) });
  assert.equal(joined.active, "s1");
  assert.equal(joined.visitors.s1.synced, false);
  const late = heard(joined, event("update", { epoch: 9, snapshot: true }));
  assert.equal(late.visitors.s1.synced, false, "of another epoch");
  assert.equal(heard(joined, event("update", { epoch: 1, snapshot: true })).visitors.s1.synced, true);
});

test("a stop by anybody takes it off the screen, and says so when it was the visitor", () => {
  const joined = told(event("joined", { epoch: 1 }));
  assert.equal(stopped(joined, "s1").visitors.s1.epoch, null);
  const desk = heard(joined, event("stopped", { epoch: 1, by: "page" }));
  assert.equal(desk.visitors.s1.epoch, null);
  assert.match(desk.notice, /visitor has stopped/);
  const over = heard(desk, { t: "state", session: "s1", state: state(3) });
  assert.equal(over.visitors.s1.refusal, "stopped", "while it is on the screen");
  assert.match(refusalWords(over.visitors.s1)[1], /visitor has stopped/);
  assert.deepEqual(engaged(heard(over, { ...event("joined", { epoch: 1 }), session: "s2" })), ["s2"]);
  assert.equal(heard(over, event("joined", { epoch: 2 })).visitors.s1.refusal, "");
  assert.deepEqual(heard(over, event("page_gone", {})).visitors.s1.chat, "idle", "there is no chat to be read");
  const byAgent = heard(stopped(joined, "s1"), event("stopped", { epoch: 1, by: "agent" }));
  assert.deepEqual(engaged(heard(byAgent, { t: "state", session: "s1", state: state(3) })), []);
});

test("a chat that is offered waits; accepted it is opened; over, it stays to be read until it is dismissed", () => {
  const offered = told(event("chat_offered", { button: "help" }));
  assert.deepEqual([waiting(offered), engaged(offered)], [["s1"], []]);
  const open = activate(heard(offered, event("chat_open", { button: "help" })), "s1");
  assert.deepEqual([waiting(open), engaged(open)], [[], ["s1"]]);
  const written = heard(open, event("chat_message", { message: { from: "visitor", text: "Hello", id: "1" } }));
  const closed = heard(written, event("chat_closed", {}));
  assert.deepEqual([closed.active, closed.visitors.s1.chat], ["s1", "closed"]);
  const other = activate(heard(closed, { ...event("joined", { epoch: 1 }), session: "s2" }), "s2");
  assert.deepEqual(Object.keys(other.visitors), ["s1", "s2"]);
  assert.deepEqual(Object.keys(dismissed(other, "s1").visitors), ["s2"]);
  assert.equal(dismissed(open, "s1"), open, "an open one stays");
  const again = heard(closed, event("chat_open", { button: "help" }));
  assert.deepEqual([again.visitors.s1.chat, again.visitors.s1.messages], ["open", []], "another chat");
});

test("what was said so far comes with the welcome, or after it, in order and once", () => {
  const line = (n, by, text) => ({ n, by, from: by, text, id: `i${n}`, at: 100 + n });
  const chat = { session: "s1", open: true, away: true, lines: [line(1, "page", "one"), line(2, "ada", "two")], dropped: 3 };
  const pages = [state(7, { chat: "open", chat_agent: "ada" })];
  const back = heard(START, { ...WELCOME, pages, chats: [chat] });
  const { messages, away, dropped, label } = back.visitors.s1;
  assert.deepEqual(messages.map(({ text, own }) => [text, own]), [["one", false], ["two", true]]);
  assert.deepEqual([away, dropped, back.active], [true, 3, "s1"]);
  const live = heard(back, event("chat_message", { message: line(4, "page", "four") }));
  const all = { ...chat, lines: [...chat.lines, line(3, "ada", "three"), line(4, "page", "four")] };
  const whole = heard(live, { t: "event", event: "chat_history", ...all });
  assert.deepEqual(whole.visitors.s1.messages.map(({ text }) => text), ["one", "two", "three", "four"]);
  assert.equal(heard(START, { ...WELCOME, pages: [], chats: [{ ...chat, open: false }] }).visitors.s1.chat, "closed");
  const lost = heard(live, { ...WELCOME, pages: [], chats: [] });
  assert.deepEqual([lost.visitors.s1.chat, lost.visitors.s1.messages.length], ["closed", 3], "kept until it is dismissed");
  assert.equal(heard(dismissed(lost, "s1"), event("joined", { epoch: 1 })).visitors.s1.label, label, "the same name");
});

test("a visitor who leaves, or is away, is told; what was said stays", () => {
  const open = told(event("chat_open", { button: "help" }), event("chat_message", { message: { text: "Hello", id: "1" } }));
  assert.equal(heard(open, event("visitor_away", {})).visitors.s1.away, true);
  assert.equal(heard(heard(open, event("visitor_away", {})), event("visitor_back", {})).visitors.s1.away, false);
  const gone = heard(heard(open, event("chat_closed", {})), event("page_gone", {}));
  assert.deepEqual([gone.visitors.s1.chat, gone.visitors.s1.gone, gone.visitors.s1.messages.length], ["closed", true, 1]);
  assert.equal(heard(START, event("visitor_away", {})), START);
});

test("how a proposal was answered is told; one that the agent took back is no news", () => {
  const viewed = told(event("joined", { epoch: 1 }), event("chat_invited", {}), {
    t: "state",
    state: state(3, { agent: "ada", cobrowse: "joined", chat: "invited", chat_agent: "ada" }),
  });
  const declined = heard(viewed, event("chat_declined", {}));
  assert.deepEqual([declined.visitors.s1.answer, declined.visitors.s1.chat], ["declined", "idle"]);
  assert.match(declined.notice, /does not want to chat/);
  const silent = heard(viewed, event("chat_withdrawn", {}));
  assert.deepEqual([silent.visitors.s1.answer, silent.notice], ["unanswered", "The visitor has not answered."]);
  const back = heard(withdrawn(viewed, "s1"), event("chat_withdrawn", {}));
  assert.deepEqual([back.visitors.s1.answer, back.notice], ["", ""]);
});

test("a visitor who is viewed and asks for a chat is in both lists", () => {
  const desk = told(event("joined", { epoch: 1 }), event("chat_offered", { button: "help" }));
  assert.deepEqual([waiting(desk), engaged(desk)], [["s1"], ["s1"]]);
});

test("an offer that is withdrawn is gone", () => {
  const desk = told(event("chat_offered", { button: "help" }), event("chat_withdrawn", {}));
  assert.deepEqual(desk.visitors, {});
});

test("messages show once; those of a visitor who is not on the screen are counted", () => {
  const desk = told(event("chat_open", { button: "help" }), { ...event("joined", { epoch: 1 }), session: "s2" });
  const message = { from: "visitor", text: "Hello", id: "1" };
  const once = heard(desk, event("chat_message", { message }));
  assert.equal(once.visitors.s1.unread, 1);
  assert.equal(heard(once, event("chat_message", { message })).visitors.s1.unread, 1);
  const said = withMessage(activate(once, "s1"), "s1", { from: "Ada", text: "Hi", id: "2" }, true);
  assert.deepEqual(said.visitors.s1.messages.map(({ own }) => own), [false, true]);
});

test("what comes while the console is hidden is not read before it is on the screen again", () => {
  const open = looked(told(event("chat_open", { button: "help" })), true);
  const written = heard(open, event("chat_message", { message: { text: "Hello", id: "1" } }));
  assert.equal(written.visitors.s1.unread, 1);
  assert.equal(looked(written, false).visitors.s1.unread, 0);
  assert.deepEqual(looked(START, false), START);
});

test("old news changes nothing, and a page that has gone is let go", () => {
  const desk = told({ t: "state", state: state(5, { chat: "open", chat_agent: "ada" }) });
  const old = heard(desk, { t: "state", state: state(4, { chat: "idle" }) });
  assert.equal(old.visitors.s1.chat, "open");
  const gone = heard(desk, event("page_gone", {}));
  assert.deepEqual(gone.visitors, {});
  assert.equal(heard(gone, { t: "state", session: "s1", state: null }), gone);
});

test("back after a loss it has what the gateway says, and what was over meanwhile is gone", () => {
  const desk = told(event("joined", { epoch: 1 }), { ...event("chat_open", { button: "help" }), session: "s2" });
  const pages = [state(7, { agent: "ada", cobrowse: "joined", epoch: 2 })];
  const again = heard(desk, { ...WELCOME, pages });
  assert.deepEqual(Object.keys(again.visitors), ["s1"]);
  assert.deepEqual([again.visitors.s1.epoch, again.visitors.s1.synced], [2, false]);
});

test("what cannot be relied on shows: the mesh, the frame node", () => {
  assert.equal(told({ t: "connection", connected: true, covered: ["p1"], missing: ["p2"] }).covered, false);
  assert.equal(told(event("lease_uncertain", {})).lease, false);
  assert.equal(told(event("lease_lost", {}), event("signed_in", {})).lease, true);
});

test("a picture is live only while the page has said in the last seconds that it is all of it", () => {
  const pulse = (n, fields) => event("pulse", { epoch: 1, n, silent_s: 1, open: true, ...fields });
  const shown = told(event("joined", { epoch: 1 }), event("update", { epoch: 1, n: 4, snapshot: true }));
  const words = (desk, now) => picture(desk, desk.visitors.s1, now).words;
  assert.equal(words(shown, 0), "Waiting for word of the page…");
  const live = heard(shown, pulse(4), 10_000); // at 9 s the page was heard
  assert.deepEqual(picture(live, live.visitors.s1, 13_900), { words: "Live", level: "good", old: false });
  assert.deepEqual(picture(live, live.visitors.s1, 16_000), { words: "Last seen 7 s ago", level: "poor", old: true });
  assert.equal(words({ ...live, connected: false }, 10_000), "Last seen 1 s ago");
  assert.equal(words({ ...live, silent_s: 6 }, 10_000), "Last seen 1 s ago");
  const behind = heard(shown, pulse(5), 10_000);
  assert.equal(words(behind, 10_499), "Live", "an update takes its way");
  assert.equal(words(behind, 10_500), "Catching up…");
  assert.equal(words(heard(behind, pulse(6), 10_400), 10_500), "Catching up…", "it was behind before");
  const update = (n) => event("update", { epoch: 1, n, snapshot: false });
  assert.equal(words(heard(behind, update(5), 10_600), 12_000), "Live");
  const typed = heard(live, update(5), 10_100);
  assert.equal(words(heard(typed, update(6), 10_900), 12_000), "Live", "newer than what the page was heard to have made");
  assert.equal(words(heard(typed, pulse(4), 11_000), 12_000), "Catching up…", "another document begins to count");
  assert.equal(words(heard(shown, pulse(4, { epoch: 2 }), 10_000), 10_000), "Waiting for word of the page…");
  const closed = heard(live, pulse(4, { open: false, silent_s: 3 }), 12_000);
  assert.match(words(closed, 12_000), /closed or away · Last seen 3 s ago/);
  assert.equal(words(heard(live, pulse(4, { open: false, silent_s: 1 }), 12_000), 12_000), "Live", "it may be loaded again");
  assert.equal(heard(live, event("stopped", { epoch: 1 })).visitors.s1.pulse, null);
});

test("a page that pauses says why, and is seen again by its next snapshot", () => {
  const topic = (name) => `~pagesession/cobrowsing/${name}`;
  const message = (name, payload) => event("message", { topic: topic(name), payload });
  const shown = told(event("joined", { epoch: 1 }), event("update", { epoch: 1, n: 1, snapshot: true }));
  const paused = heard(shown, message("paused", { epoch: 1, why: "The sign is hidden." }));
  assert.deepEqual(picture(paused, paused.visitors.s1, 0), { words: "The sign is hidden.", level: "poor", old: true });
  assert.equal(heard(shown, message("paused", { epoch: 9, why: "x" })).visitors.s1.paused, "");
  assert.equal(heard(paused, event("update", { epoch: 1, n: 2, snapshot: false })).visitors.s1.paused, "The sign is hidden.");
  assert.equal(heard(paused, event("update", { epoch: 1, n: 2, snapshot: true })).visitors.s1.paused, "");
  assert.equal(heard(paused, message("resumed", { epoch: 1 })).visitors.s1.paused, "");
  assert.equal(heard(paused, message("toString", { epoch: 1 })), paused);
  assert.match(heard(shown, message("privacy_problem", { why: "mask ?" })).notice, /^A privacy rule .*: mask \?$/);
});

test("nothing can be asked for without a gateway that answers", () => {
  assert.deepEqual([told(), { ...told(), silent_s: 6 }, START].map(canAct), [true, false, false]);
});

const asking = (more) => ({ session: "s1", version: 1, cobrowse: "asked", agent: "ada", epoch: 1, chat: "idle", chat_agent: null, ...more });
const reply = (state) => ({ t: "reply", id: 1, ok: true, state });
const requested = event("requested", { epoch: 1, capability: "view" });
const over = (reason) => event("request_declined", { epoch: 1, reason });

test("who is asked is on the screen, with the time since when, and viewed once it is allowed", () => {
  const desk = heard(told(), requested, 5_000);
  assert.deepEqual([desk.active, desk.visitors.s1.asked, desk.visitors.s1.epoch], ["s1", { epoch: 1, since: 5_000 }, null]);
  const again = heard(desk, reply(asking()), 6_000);
  assert.deepEqual(again.visitors.s1.asked, { epoch: 1, since: 5_000 }, "the reply is no other request");
  const joined = heard(again, event("joined", { epoch: 1 }));
  assert.deepEqual([joined.visitors.s1.asked, joined.visitors.s1.epoch], [null, 1]);
});

test("a reply that comes first, and a console that comes back, know of the request", () => {
  assert.deepEqual(heard(told(), reply(asking()), 7).visitors.s1.asked, { epoch: 1, since: 7 });
  const back = heard(told(), { ...WELCOME, pages: [asking()] }, 8);
  assert.deepEqual([back.visitors.s1.asked, back.active], [{ epoch: 1, since: 8 }, "s1"]);
});

test("a request that was not allowed is told with its reason, and stays until the agent turns away", () => {
  const notices = ["declined", "timeout", "withdrawn", "agent_lost", "toString"].map((reason) => {
    const desk = heard(heard(told(), requested), over(reason));
    assert.deepEqual([desk.visitors.s1.asked, desk.visitors.s1.refusal], [null, reason]);
    return desk.notice;
  });
  assert.equal(new Set(notices).size, 5);
  const gone = { session: "s1", version: 2, cobrowse: "idle", agent: null, epoch: 2, chat: "idle", chat_agent: null };
  const asked = heard(heard(told(), reply(asking())), requested);
  const declined = heard(heard(asked, over("declined")), { t: "state", session: "s1", state: gone });
  assert.equal(declined.visitors.s1.refusal, "declined", "while it is on the screen");
  const other = heard(declined, { ...requested, session: "s2" });
  assert.deepEqual(Object.keys(other.visitors), ["s2"]);
  assert.equal(heard(declined, event("requested", { epoch: 2 })).visitors.s1.refusal, "");
});

test("in a chat the visitor can be asked while nobody else does, and the chat stays as it was", () => {
  const open = { version: 3, cobrowse: "idle", agent: null, chat: "open", chat_agent: "ada", button: "help" };
  const chat = heard(told(), reply(asking(open)));
  const why = (desk) => whyNotAsk(desk, desk.visitors.s1);
  assert.equal(why(chat), "");
  assert.match(why({ ...chat, silent_s: 6 }), /does not answer/);
  for (const [cobrowse, words] of [["asked", /asks/], ["joined", /sees/], ["stopping", /ending/]]) {
    assert.match(why(heard(chat, reply(asking({ ...open, version: 4, cobrowse, agent: "bob" })))), words);
  }
  const declined = heard(heard(chat, requested), over("declined"), 5_000);
  assert.equal(declined.visitors.s1.chat, "open");
  assert.match(why(declined), /just been asked/);
  assert.equal(rested(declined, 34_999), declined);
  assert.equal(why(rested(declined, 35_000)), "");
  assert.match(why(resting(rested(declined, 35_000), "s1", 40_000)), /just been asked/, "a frame node has said so");
  assert.equal(resting(declined, "gone", 1), declined);
  assert.equal(why(heard(heard(chat, requested), over("withdrawn"))), "");
  assert.equal(why(heard(chat, requested)), null, "one request at a time");
  assert.equal(why(heard(chat, event("joined", { epoch: 1 }))), null, "it is viewed already");
  assert.equal(whyNotAsk(chat, { ...chat.visitors.s1, chat: "closed" }), null);
});

test("the address is the origin that the gateway has verified, with the path if the page agrees", () => {
  const joined = told(event("joined", { epoch: 1 }));
  const at = (desk, href) => address(addressed(desk, "s1", href), "s1");
  const { label } = joined.visitors.s1;
  assert.equal(at(joined, "https://www.your-bank.example/login"), label, "nothing is known of it");
  const known = heard(joined, { t: "origin", session: "s1", origin: "https://shop.example.org" });
  assert.equal(address(known, "s1"), "https://shop.example.org");
  assert.equal(at(known, "https://shop.example.org/cart"), "https://shop.example.org/cart");
  for (const href of ["https://www.your-bank.example/login", "https://shop.example.org.evil.example/", "https://shop.example.org@evil.example/",
    "https://shop.example.org:8443/", "javascript:alert(1)", "", "http://shop.example.org/"]) {
    assert.equal(at(known, href), "https://shop.example.org", href);
  }
  assert.equal(at(known, "https://shop.example.org/\u202egpj.exe\u200b"), "https://shop.example.org/gpj.exe");
});
