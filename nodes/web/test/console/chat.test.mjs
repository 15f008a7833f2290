// What is said of the chat with a visitor.
import assert from "node:assert/strict";
import { test } from "node:test";

import { chatWords } from "../../src/console/chat.js";

const words = (changes) => chatWords({ chat: "open", answer: "", away: false, gone: false, dropped: 0, state: {}, ...changes });

test("where the visitor is, and how the chat stands", () => {
  assert.equal(words({}), "");
  assert.match(words({ away: true }), /visitor is away/);
  assert.match(words({ state: { visibility: "hidden" } }), /closed the help window/);
  assert.match(words({ state: { visibility: "minimised" } }), /minimised/);
  assert.equal(words({ chat: "closed", gone: true }), "The visitor has left. This chat has ended.");
  assert.equal(words({ chat: "idle", answer: "declined" }), "The visitor does not want to chat now.");
  assert.equal(words({ chat: "idle", answer: "unanswered" }), "The visitor has not answered.");
  assert.match(words({ dropped: 2 }), /Earlier messages are not kept/);
});
