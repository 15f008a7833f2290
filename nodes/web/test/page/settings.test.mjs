// What the page wants of privacy: by attributes of the script, and by `configure`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Settings } from "../../src/page/settings.js";

const made = (dataset = {}) => new Settings(dataset);

test("attributes of the script say what the page wants", () => {
  const { page, isAwaited, rules } = made({ private: "", address: "path", queries: "https://cdn.example/a  nonsense" });
  assert.deepEqual(page, { private: true, address: "path", queries: ["https://cdn.example/a", "nonsense"] });
  assert.deepEqual([isAwaited, rules], [false, null]);
  assert.deepEqual(made({ private: "false" }).page, { private: false, address: undefined, queries: undefined });
});

test("before the page is recorded, each call adds", () => {
  const settings = made({ configure: "" });
  assert.equal(settings.isAwaited, true);
  settings.configure({ mask: [".a"], show: ["p"], queries: ["https://cdn.example"] });
  assert.equal(settings.isAwaited, false);
  settings.configure({ mask: [".b", ".a"], show: ["b"], private: true, address: "path" });
  settings.configure({ private: false });
  assert.deepEqual(settings.page, {
    private: true, address: "path", queries: ["https://cdn.example"], mask: [".a", ".b", ".a"], show: ["p", "b"],
  });
});

test("later it can be made stricter only; what would be laxer is refused, and the rest of the call holds", () => {
  const settings = made({ address: "path" });
  settings.configure({ show: ["p", "b"], queries: ["https://cdn.example/a"] });
  settings.isFixed = true;
  let changes = 0;
  settings.changed = () => (changes += 1);
  const refused = (given, names) =>
    assert.throws(() => settings.configure(given), (error) => error.name === "SettingsError" && error.message.startsWith(names));
  refused({ show: ["i"], mask: [".a"] }, "show:");
  refused({ queries: ["https://other.example/"], address: "path", block: [".b"] }, "queries:");
  assert.deepEqual([settings.page.show, settings.page.mask, settings.page.block], [["p", "b"], [".a"], [".b"]]);
  settings.configure({ show: ["p"], address: "site", queries: [] });
  assert.deepEqual([settings.page.show, settings.page.address, settings.page.queries], [["p"], "site", []]);
  refused({ address: "path" }, "address:");
  refused({ show: ["b"] }, "show:");
  assert.equal(changes, 5);
});

test("a call that cannot be understood makes the page private", () => {
  for (const given of [{ masc: [".a"] }, { mask: ".a" }, { mask: [1] }, { toString: [] }]) {
    const settings = made({ configure: "" });
    assert.throws(() => settings.configure(given), (error) => error.name === "TypeError", JSON.stringify(given));
    assert.deepEqual([settings.page.private, settings.isAwaited], [true, false]);
  }
  const settings = made();
  assert.throws(() => settings.configure(null));
  assert.equal(settings.page.private, true);
});

test("rules of the operator take the place of those before", () => {
  const settings = made();
  let changes = 0;
  settings.changed = () => (changes += 1);
  settings.take({ private: true, rules: [] });
  assert.deepEqual([settings.rules, changes], [{ private: true, rules: [] }, 1]);
});
