// A recorder that fails now and then begins again; one that fails again and again gives up.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Faults } from "../../src/page/faults.js";

test("three faults in a row are borne, and the fourth within twenty seconds is not", () => {
  const faults = new Faults();
  assert.deepEqual([0, 1, 2, 3, 19_999].map((now) => faults.isBearable(now)), [true, true, true, false, false]);
});

test("faults that are far apart are borne for ever", () => {
  const faults = new Faults();
  for (let now = 0; now < 1_000_000; now += 7_000) assert.equal(faults.isBearable(now), true);
});
