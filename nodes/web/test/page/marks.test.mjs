// Marks by class.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ALLOW, BLOCK, MASK, SHOW, TYPED, hasBlockClass } from "../../src/page/marks.js";

test("the class that blocks is a whole word", () => {
  for (const value of ["site-connect-block", "a site-connect-block", "\tsite-connect-block\nb"]) assert.equal(hasBlockClass(value), true);
  for (const value of [null, "", "site-connect-blocked", "a-site-connect-block"]) assert.equal(hasBlockClass(value), false);
});

test("bits can be added up", () => {
  assert.equal(BLOCK | MASK | SHOW | TYPED | ALLOW, BLOCK + MASK + SHOW + TYPED + ALLOW);
});
