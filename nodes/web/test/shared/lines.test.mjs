// What is said in a chat, in parts: text, and addresses that may be followed.
import assert from "node:assert/strict";
import { test } from "node:test";

import { parts } from "../../src/shared/lines.js";

const links = (text) => parts(text).filter(({ href }) => href).map(({ text: shown, href }) => [shown, href]);

test("addresses of web pages are links, without what ends the sentence", () => {
  assert.deepEqual(parts("See https://a.example/x?y=1, or (http://b.example)."), [
    { text: "See " },
    { text: "https://a.example/x?y=1", href: "https://a.example/x?y=1" },
    { text: ", or (" },
    { text: "http://b.example", href: "http://b.example/" },
    { text: ")." },
  ]);
  assert.deepEqual(parts("nothing"), [{ text: "nothing" }]);
  assert.deepEqual(parts(""), []);
});

test("nothing else is a link", () => {
  const texts = ["javascript:alert(1)", "data:text/html,x", "ftp://a.example", "https://", "http://bank.example@evil.example/", "a.example"];
  assert.deepEqual(texts.flatMap(links), []);
  assert.deepEqual(links('https://a.example/"onclick="x'), [["https://a.example/", "https://a.example/"]]);
});

test("all of the text is there, and in order", () => {
  for (const text of ["https://a.example", "x https://a.example y", "https://a.example https://b.example.", "…https://a.example…"]) {
    assert.equal(parts(text).map((each) => each.text).join(""), text);
  }
});
