// What the card says is hidden, against the policies that the recorder judges by.
import assert from "node:assert/strict";
import { test } from "node:test";

import { hiddenWords } from "../../src/frame/hidden.js";
import { Settings } from "../../src/page/settings.js";

const ADDRESS = "https://shop.example/pay/card?token=1";
const isValid = (selector) => !selector.includes("::");

/** rules: of the operator · data: attributes of the script · given: to `configure` */
function words(rules = [], data = {}, given = {}) {
  const { page, isAwaited } = Object.assign(new Settings(data), { isAwaited: "configure" in data });
  const said = { page: { ...page, ...given }, isAwaited, address: ADDRESS };
  return hiddenWords({ private: false, rules }, JSON.parse(JSON.stringify(said)), isValid);
}

test("without rules and settings", () => {
  const plain =
    "Hidden from them: passwords; card numbers; one-time codes; what you type, except what this site shows on purpose; " +
    "the address of this page; and what this site marks as private.";
  assert.equal(words(), plain);
  assert.equal(words([{ paths: ["/other"], block: [".a"], private: true, pause: "not here" }]), plain, "of another address");
});

test("what is named by selectors, by the operator or by the page", () => {
  const [left, covered] = [/parts of this page that this site leaves out/, /text that this site covers/];
  assert.match(words([{ paths: ["/pay/*"], block: [".a"] }]), left);
  assert.match(words([{ paths: ["*"], mask: [".a"] }]), covered);
  assert.match(words([], {}, { block: [".a"] }), left);
  assert.match(words([], {}, { mask: [".a"] }), covered);
  assert.doesNotMatch(words([{ paths: ["*"], show: [".a"] }], {}, { show: [".b"] }), /leaves out|covers/);
});

test("a private page, by the operator or by its own word", () => {
  const all = /; all text and all that you type, except what this site shows on purpose;/;
  assert.match(words([{ paths: ["*"], private: true }]), all);
  assert.match(words([], { private: "" }), all);
  assert.match(hiddenWords({ private: true, rules: [] }, { page: {}, isAwaited: false, address: ADDRESS }, isValid), all);
});

test("the address is hidden unless it is told", () => {
  assert.doesNotMatch(words([], { address: "path" }), /address/);
  assert.match(words([{ paths: ["*"], address: "site" }], { address: "path" }), /the address of this page/);
});

test("what cannot be applied hides more, and a pause hides all", () => {
  assert.match(words([{ paths: ["*"], mask: ["::x"] }]), /; all text, and all that you type;/);
  const nothing = /^Nothing of this page is shown at present\. Paused by the site: /;
  assert.match(words([{ paths: ["*"], block: ["::x"] }]), nothing);
  assert.match(words([{ paths: ["*"], pause: "payment page" }]), /^Nothing .* Paused by the site: payment page\. Hidden from them/);
  assert.match(words([], { configure: "" }), nothing);
  assert.match(hiddenWords(null, { page: {}, isAwaited: false, address: ADDRESS }, isValid), nothing);
});
