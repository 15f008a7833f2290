// What the visitor's frame shows, from what was said.
import assert from "node:assert/strict";
import { test } from "node:test";

import { START, dismissed, kept, needsRoom, numbered, resumed, see, unviewed, withChat } from "../../src/frame/story.js";

/** The story after these: [topic, payload, own]. */
const told = (...said) => said.reduce((state, [topic, payload, own]) => see(state, topic, payload, own), START);

test("a code comes, is hidden while the page is viewed, and the next one says that it is not any more", () => {
  const ready = ["~/site_connect/ready", { code: "482913" }];
  assert.equal(told(ready).code, "482913");
  const viewed = told(ready, ["~pagesession/cobrowsing/start", { epoch: 1, agent: "ada" }]);
  assert.deepEqual([viewed.code, viewed.viewing], [null, true]);
  const next = see(viewed, "~/site_connect/new_code", { code: "111222" });
  assert.deepEqual([next.code, next.viewing], ["111222", false]);
});

test("trouble is told, and over with the code", () => {
  const trouble = told(["~/site_connect/error", { attempts: 3, reason: "busy" }]);
  assert.ok(trouble.gaveUp && trouble.trouble);
  const over = see(trouble, "~/site_connect/ready", { code: "1" });
  assert.deepEqual([over.gaveUp, over.trouble], [false, ""]);
});

test("a chat from the button to its end", () => {
  const chat = (...said) => told(...said).chat;
  const trigger = ["~pagesession/chat/trigger", { button: "help" }, true];
  const accepted = ["~pagesession/chat/accepted", { agent: "ada", button: "help" }];
  const stop = ["~pagesession/chat/stop", { agent: "ada" }];
  assert.equal(chat(trigger), "waiting");
  assert.equal(chat(trigger, stop), "idle");
  assert.equal(chat(trigger, accepted), "open");
  assert.equal(chat(trigger, accepted, stop), "closed");
  assert.equal(chat(["~pagesession/proactive/trigger", { agent: "ada" }], trigger), "open");
  const refused = told(trigger, ["~/site_connect/refused", { what: "trigger", why: "raw", error: "StateError" }]);
  assert.deepEqual([refused.chat, refused.refused], ["idle", "You wait for a chat already, or are in one."]);
});

test("a message shows once, however often it is said; what is not seen is counted", () => {
  const message = ["~pagesession/chat/message", { from: "Ada", text: "Hello", id: "1" }];
  const hidden = told(["~pagesession/minimize_frame"], message, message);
  assert.deepEqual([hidden.messages.length, hidden.unread], [1, 1]);
  assert.equal(see(hidden, "~pagesession/show_frame").unread, 0);
  assert.equal(told(["~pagesession/chat/message", { text: 5 }]).messages.length, 0);
});

test("buttons, and topics that mean nothing here", () => {
  const state = told(
    ["~/site_connect/chat_button/a/b/enabled", { button: "a/b" }],
    ["~/site_connect/chat_button/help/disabled", { button: "help" }],
    ["~pagesession/of/the/page", {}],
    ["~/site_connect/anything", null],
    ...["constructor", "toString", "__proto__", "valueOf"].map((name) => [`~pagesession/${name}`, {}]), // of every object
  );
  assert.equal(state.view, START.view);
  assert.deepEqual(state.buttons, { "a/b": true, help: false });
});

test("the next page of the site goes on with what this tab remembers, corrected by what the gateway knows", () => {
  const kept = { view: "shown", unread: 2, chat: "open", messages: [{ text: "Hello", id: "1" }] };
  assert.equal(resumed(START, kept, null).chat, "open");
  assert.equal(resumed(START, kept, { visibility: "hidden", chat: "open" }).view, "hidden");
  assert.equal(resumed(START, kept, { visibility: "shown", chat: "offered" }).chat, "waiting");
  assert.equal(resumed(START, kept, { visibility: "shown", chat: "idle" }).chat, "closed", "there is something to be read");
  assert.equal(resumed(START, { chat: "idle" }, { visibility: "hidden", chat: "closed" }).chat, "idle", "it was dismissed");
});

test("viewing is said to the visitor once the agent's console shows the page, and again after each start", () => {
  const topic = (name) => `~pagesession/cobrowsing/${name}`;
  const started = see(START, topic("start"), { epoch: 1 });
  assert.deepEqual([started.viewing, started.seen], [true, false]);
  const seen = see(started, topic("shown"), { epoch: 1 });
  assert.equal(seen.seen, true);
  assert.equal(see(seen, topic("start"), { epoch: 2 }).seen, false);
  const paused = see(seen, topic("paused"), { epoch: 1, why: "The sign is hidden." }, true);
  assert.equal(paused.paused, "The sign is hidden.");
  assert.equal(see(paused, topic("resumed"), { epoch: 1 }, true).paused, "");
});

test("a chat that has ended is there until it is dismissed, or another one begins", () => {
  const message = ["~pagesession/chat/message", { from: "Ada", text: "Hello", id: "1" }];
  const accepted = ["~pagesession/chat/accepted", { agent: "ada" }];
  const over = told(accepted, message, ["~pagesession/chat/stop", {}]);
  assert.deepEqual([over.chat, over.messages.length], ["closed", 1]);
  assert.deepEqual([dismissed(over).chat, dismissed(over).messages], ["idle", []]);
  const waiting = see(over, "~pagesession/chat/trigger", { button: "help" }, true);
  assert.deepEqual([waiting.chat, waiting.messages.length, dismissed(waiting)], ["waiting", 1, waiting]);
  assert.equal(see(waiting, "~pagesession/chat/stop", {}, true).chat, "closed");
  assert.deepEqual(see(waiting, ...accepted).messages, []);
});

test("who has joined is told once", () => {
  const joined = ["~pagesession/chat/joined", { agent: "ada", name: "Ada", at: 5 }];
  const lines = told(["~pagesession/chat/accepted", { agent: "ada" }], joined, joined).messages;
  assert.deepEqual(lines.map(({ text, isSystem, at }) => [text, isSystem, at]), [["Ada joined", true, 5]]);
});

test("what is kept of a chat goes back to a gateway with its seals, and what a gateway has is put in its place", () => {
  const message = (id, text, own) => ["~pagesession/chat/message", { from: own ? "visitor" : "Ada", text, id, n: 2, at: 7, by: "ada" }, own];
  const open = told(["~pagesession/chat/accepted", { agent: "ada" }], message("b", "two", false), message("c", "three", true));
  assert.equal(kept(open), null, "nothing is sealed");
  const sealed = numbered(numbered(open, { id: "b", n: 2, at: 7, agent: "ada", seal: "S2" }), { id: "c", n: 3, at: 8, agent: "ada", seal: "S3" });
  assert.deepEqual(kept(sealed), {
    agent: "ada",
    lines: [
      { n: 2, by: "ada", from: "Ada", text: "two", id: "b", at: 7, seal: "S2" },
      { n: 3, by: "page", from: "visitor", text: "three", id: "c", at: 8, seal: "S3" },
    ],
  });
  assert.equal(kept(see(sealed, "~pagesession/chat/stop", {})), null);
  const large = { ...sealed, messages: Array.from({ length: 50 }, (_, n) => ({ ...sealed.messages[0], n, text: "x".repeat(4000) })) };
  assert.deepEqual(kept(large).lines.at(-1).n, 49);
  assert.ok(JSON.stringify(kept(large)).length < 64_000);
  const whole = { agent: "ada", lines: [{ n: 1, by: "page", from: "visitor", text: "one", id: "a", at: 6, seal: "S1" }, ...kept(sealed).lines] };
  assert.deepEqual(withChat(open, whole).messages.map(({ text, own, seal }) => [text, own, seal]), [
    ["one", true, "S1"],
    ["two", false, "S2"],
    ["three", true, "S3"],
  ]);
  assert.equal(withChat(START, whole), START, "it was dismissed");
});

test("no raw reason reaches the visitor's screen", () => {
  for (const what of ["trigger", "message", "publish", "rate", "stop_chat", "set_visibility", "record", "toString"]) {
    for (const error of ["StateError", "NotAllowed", "constructor", undefined]) {
      const state = told(["~/site_connect/refused", { what, why: "RAW reason", error }], ["~/site_connect/error", { reason: "RAW" }]);
      assert.doesNotMatch(JSON.stringify(state), /RAW/);
    }
  }
});

const ASKED = ["~pagesession/cobrowsing/asked", { epoch: 3, agent: "ada", name: "Ada", capability: "view", by: "code" }];
const ALLOW = ["~pagesession/cobrowsing/allow", { epoch: 3 }, true];

test("a request takes the place of the code until it is allowed, or is over", () => {
  const asked = told(["~/site_connect/ready", { code: "482913" }], ASKED);
  assert.deepEqual(asked.asked, { epoch: 3, name: "Ada", by: "code", capability: "view", answered: false });
  assert.equal(asked.code, null);
  assert.equal(see(asked, ...ALLOW).asked.answered, true, "once is enough");
  const declined = see(see(asked, ...ALLOW), "~pagesession/cobrowsing/decline", { epoch: 3 }, true);
  assert.equal(declined.asked, null, "as long as it has not begun the visitor may think better of it");
  assert.equal(see(asked, "~pagesession/cobrowsing/allow", { epoch: 2 }, true).asked.answered, false);
  const viewed = see(asked, "~pagesession/cobrowsing/start", { epoch: 3, agent: "ada" });
  assert.deepEqual([viewed.asked, viewed.viewing], [null, true]);
  assert.equal(see(asked, "~/site_connect/new_code", { code: "111222" }).asked, null);
});

test("what became of a request is said, for each way to end", () => {
  const notes = ["declined", "timeout", "withdrawn", "agent_lost", "toString"].map((reason) => {
    const over = told(ASKED, ["~pagesession/cobrowsing/declined", { epoch: 3, reason }]);
    assert.equal(over.asked, null);
    return over.note;
  });
  assert.ok(notes.every((note) => note.endsWith(".")) && new Set(notes).size === 4, notes.join(" "));
  assert.equal(told(ASKED, ["~pagesession/cobrowsing/declined", { epoch: 2, reason: "timeout" }]).asked.epoch, 3);
  const again = told(ASKED, ["~pagesession/cobrowsing/decline", { epoch: 3 }, true], ["~pagesession/cobrowsing/declined", { epoch: 3 }]);
  assert.match(again.note, /^You chose/, "the gateway's word comes later, and changes nothing");
  assert.equal(see(again, ...ASKED).note, "");
});

test("nobody but the visitor's own frame answers", () => {
  assert.equal(told(ASKED, ["~pagesession/cobrowsing/decline", { epoch: 3 }]).asked.epoch, 3);
  assert.equal(told(ASKED, ["~pagesession/cobrowsing/allow", { epoch: 3 }]).asked.answered, false);
});

test("a viewing that has ended is told, and what became of it or of a request until something happens in a chat", () => {
  const start = ["~pagesession/cobrowsing/start", { epoch: 1, agent: "ada" }];
  const words = "Viewing has stopped. Nobody sees this page.";
  assert.equal(told(start, ["~pagesession/cobrowsing/stop", { epoch: 1 }]).note, words);
  assert.equal(told(start, ["~/site_connect/new_code", { code: "1" }]).note, words, "the code may be faster");
  assert.equal(unviewed(told(start)).note, words, "the visitor's own");
  assert.equal(told(["~pagesession/cobrowsing/stop", { epoch: 1 }]).note, "", "nobody has viewed it");
  assert.equal(unviewed(unviewed(told(start))).note, words);
  const declined = told(["~pagesession/cobrowsing/asked", { epoch: 1, name: "Ada" }], ["~pagesession/cobrowsing/decline", { epoch: 1 }, true]);
  assert.match(declined.note, /chose not to show/);
  assert.equal(see(declined, "~/site_connect/new_code", { code: "1" }).note, declined.note);
  for (const topic of ["chat/trigger", "proactive/trigger", "chat/accepted", "chat/message", "chat/stop", "cobrowsing/start"]) {
    assert.equal(see(declined, `~pagesession/${topic}`, { text: "Hello" }).note, "", topic);
  }
});

test("a chat, a question and a proposal need the tall window, and all of a chat while the page is viewed", () => {
  const start = ["~pagesession/cobrowsing/start", { epoch: 1, agent: "ada" }];
  const wait = ["~pagesession/chat/trigger", { button: "help" }];
  assert.deepEqual([told(), told(start), told(wait)].map(needsRoom), [false, false, false]);
  const asked = ["~pagesession/cobrowsing/asked", { epoch: 1, name: "Ada" }];
  const proposed = ["~pagesession/proactive/trigger", {}];
  const tall = [told(asked), told(proposed), told(start, proposed), told(start, wait), told(["~pagesession/chat/accepted", {}])];
  assert.deepEqual(tall.map(needsRoom), [true, true, true, true, true]);
});

test("who has asked is named while they view the page, also on the next page, and nobody else is", () => {
  const asked = told(["~pagesession/cobrowsing/asked", { epoch: 4, agent: "ada", name: "Ada", by: "code" }]);
  const start = (state, agent) => see(state, "~pagesession/cobrowsing/start", { epoch: 4, agent }).viewer;
  assert.deepEqual([start(asked, "ada"), start(asked, "bob"), start(START, "ada"), start(asked)], ["Ada", "", "", ""]);
  assert.equal(start(resumed({ ...START }, { asker: asked.asker }), "ada"), "Ada");
});
