// The words for people: one for every kind of error, and none of a gateway's own.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { consoleClosed, notDone, notSignedIn, refused } from "../../src/shared/words.js";

const KINDS = ["Busy", "HighWaterMarkReached", "LeaseExpired", "NotAllowed", "NotConnected", "RequestTimeout", "ServiceError"];
const ASKED = ["join", "accept", "decline", "proactive", "stop_chat", "stop", "say"];
const INTERNAL = /\blease|session|instance|frame node|gateway|invalid|expected|timeout|epoch|[_{}]/i;

test("whatever was asked for, and whatever was wrong, there are words without anything internal", () => {
  for (const asked of [...ASKED, "toString"]) {
    for (const error of [...KINDS, "StateError", "UnknownContactCode", "Malformed", "constructor", undefined]) {
      const words = notDone(asked, error);
      assert.match(words, /^[A-Z].*[.]$/);
      assert.doesNotMatch(words, INTERNAL);
    }
  }
  for (const status of [400, 401, 403, 429, 500, 503]) assert.doesNotMatch(notSignedIn(status), INTERNAL);
  for (const name of ["ended_elsewhere", "goodbye", "wrong_origin", "hello_expected", "valueOf"]) {
    assert.doesNotMatch(consoleClosed(name), INTERNAL);
  }
});

test("an agent that asks too soon reads how long it has to wait", () => {
  assert.equal(notDone("ask", "AskedTooSoon", 12), "This visitor has just been asked. You can ask again in 12 s.");
});

test("what a visitor has not done is not told to them", () => {
  assert.equal(refused("set_visibility", "LeaseExpired"), "");
  assert.equal(refused("constructor"), "");
  assert.match(refused("trigger", "LeaseExpired"), /could not begin/);
});

test("every error has words of its own", () => {
  const otherwise = notDone("stop", "no such kind");
  assert.deepEqual(KINDS.filter((kind) => notDone("stop", kind) === otherwise), []);
});

test("no program of a screen shows a reason in the words it came with", () => {
  const src = new URL("../../src/", import.meta.url);
  const said = /(?<![.])[.](why|reason|message)\b|[{,]\s*(why|reason)\s*[,}]/;
  const allowed = ["frame/connection.js", "frame/updates.js", "console/story.js", "frame/story.js"]; // hand it on to the page; a page that pauses
  for (const folder of ["frame", "console", "shared"]) {
    for (const name of readdirSync(new URL(`${folder}/`, src))) {
      const path = `${folder}/${name}`;
      if (!name.endsWith(".js") || allowed.includes(path)) continue;
      assert.doesNotMatch(readFileSync(new URL(path, src), "utf8"), said, path);
    }
  }
});

test("what can be read on a screen names nothing of how it is made", () => {
  const src = new URL("../../src/", import.meta.url);
  const internal = /\b(lease|frame node|gateway|mesh|epoch|instance|WebSocket|snapshot)\b/i;
  for (const folder of ["frame", "console", "shared"]) {
    for (const name of readdirSync(new URL(`${folder}/`, src))) {
      const text = readFileSync(new URL(`${folder}/${name}`, src), "utf8");
      const shown = name.endsWith(".html") ? text.match(/>[^<]+</g) : (text.match(/"[A-Z][^"]+ [^"]+"|`[A-Z][^`]+ [^`]+`/g) ?? []);
      assert.deepEqual((shown ?? []).filter((each) => internal.test(each)), [], `${folder}/${name}`);
    }
  }
});
