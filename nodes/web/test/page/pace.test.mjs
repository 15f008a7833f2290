// How long a page rests that changes faster than can be sent.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Pace } from "../../src/page/pace.js";

test("each rest that was not long enough is followed by one twice as long, up to half a minute", () => {
  const pace = new Pace();
  let now = 0;
  const rests = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const rest_ms = pace.refused(now);
    rests.push(rest_ms);
    now += rest_ms + 2_000;
  }
  assert.deepEqual(rests, [3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
  assert.equal(pace.refused(now + 10_001), 3_000, "it had recovered");
});
