// Which elements selectors name, and when that is another for something that the agent knows.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Flips } from "../../src/page/flips.js";
import { MASK, SHOW } from "../../src/page/marks.js";
import { OPEN } from "../../src/page/policy.js";
import { el, page, reader, shadow } from "./nodes.mjs";

const POLICY = { ...OPEN, selectors: [[MASK, ".a"], [SHOW, "#b"]] };

function opened(...children) {
  const top = page(...children);
  return { top, flips: new Flips(reader(top), () => [top], (node) => node.id, () => POLICY) };
}

const add = (node) => ({ node: { id: node.id, childNodes: node.children.map((child) => ({ id: child.id })) } });

test("an element that is known and is named otherwise is a flip; a new one is not", () => {
  const known = el("p");
  const { top, flips } = opened(known);
  flips.learn();
  assert.equal(flips.changed([]), false);
  const inner = el("p", { class: "a" });
  const fresh = el("div", {}, inner);
  top.children.push(Object.assign(fresh, { above: top }));
  assert.equal(flips.changed([add(fresh)]), false, "it is told with this very change");
  inner.attributes = {};
  assert.equal(flips.changed([]), true, "it was named, and is not");
  assert.equal(flips.changed([]), false, "once");
  known.attributes.class = "a";
  assert.equal(flips.changed([]), true);
  known.attributes = { id: "b" };
  assert.equal(flips.changed([]), true, "by another selector");
});

test("what leaves the page is no flip, and without selectors nothing is looked for", () => {
  const gone = el("p", { class: "a" });
  const { top, flips } = opened(gone);
  flips.learn();
  top.children = [];
  gone.above = null;
  assert.equal(flips.changed([]), false);
  flips.read = null;
  flips.policyAt = () => OPEN;
  flips.named = new Map();
  assert.equal(flips.changed([]), false);
});

test("shadow roots are looked into", () => {
  const within = el("p");
  const host = el("my-a");
  const root = shadow(host, within);
  const top = page(host);
  const flips = new Flips(reader(top), () => [top, root], (node) => node.id, () => POLICY);
  flips.learn();
  within.attributes.class = "a";
  assert.equal(flips.changed([]), true);
});
