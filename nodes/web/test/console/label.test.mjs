// What a visitor is called: the same for the whole visit, and for no two at once.
import assert from "node:assert/strict";
import { test } from "node:test";

import { label } from "../../src/console/label.js";

test("a session has one name, in every console", () => {
  assert.equal(label("s1"), label("s1"));
  assert.match(label("s1"), /^[A-Z][a-z]+ [a-z]+$/);
});

test("two visitors who would be called alike are told apart", () => {
  assert.equal(label("s1", [label("s1")]), `${label("s1")} 2`);
});

test("names are spread", () => {
  const names = new Set(Array.from({ length: 200 }, (_, n) => label(`session-${n}`)));
  assert.ok(names.size > 150, `${names.size}`);
});
