// After something heavy a console rests, so that the agent can use it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Rest } from "../../src/console/rest.js";

test("what takes long is followed by three times as long a rest, and what does not by none", () => {
  const rest = new Rest();
  rest.spent(2_999, 5_000);
  assert.equal(rest.left(5_000), 0);
  rest.spent(3_000, 5_000);
  assert.equal(rest.left(5_000), 9_000);
  assert.equal(rest.left(13_999), 1);
  assert.equal(rest.left(20_000), 0);
  rest.spent(3_600_000, 5_000);
  assert.equal(rest.left(5_000), 30_000, "an hour in which the machine slept");
});
