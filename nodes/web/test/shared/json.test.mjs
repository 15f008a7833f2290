// JSON on pages that have changed what arrays and strings become.
import assert from "node:assert/strict";
import { test } from "node:test";

import { stringify } from "../../src/shared/json.js";

test("a toJSON of the built-in prototypes is set aside, and is back afterwards, also after an error", () => {
  const value = { list: [1, ["two"]], text: "x", own: { toJSON: () => "its own" } };
  const right = JSON.stringify(value);
  const added = [Array, String, Number].map(({ prototype }) => prototype);
  for (const each of added) each.toJSON = () => "changed";
  try {
    assert.equal(stringify(value), right);
    const circle = [];
    circle.push(circle);
    assert.throws(() => stringify(circle), TypeError);
    assert.equal([].toJSON(), "changed");
  } finally {
    for (const each of added) delete each.toJSON;
  }
});
