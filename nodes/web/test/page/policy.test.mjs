// Rules of the operator and settings of the page: which hold where, and that a page is never laxer than the rules.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Memory } from "../../src/page/memory.js";
import { OPEN, Policies, lists, policyOf } from "../../src/page/policy.js";
import { Privacy } from "../../src/page/privacy.js";
import { el, inner, page, reader } from "./nodes.mjs";

const HERE = "https://site.example/shop/cart?x=1#y";
const isValid = (selector) => !selector.includes("?");
const rule = (more, paths = ["*"]) => ({ paths, ...more });

function of({ rules = [], isPrivate = false, page: settings = {}, isAwaited = false }, address = HERE) {
  return policyOf({ rules: { private: isPrivate, rules }, page: settings, isAwaited }, address, isValid);
}

/** The verdicts on a page with a text and a field in each of these classes. */
function verdicts(policy) {
  const parts = ["a", "b", "c"].map((name) => el("div", { class: name }, el("p", {}, "text"), el("input")));
  const read = reader(page(...parts));
  const privacy = new Privacy({ read, memory: new Memory(read), policy });
  return parts.flatMap(({ children }) => children).map((each) => privacy.verdict(each));
}

test("without rules and settings all is as it was", () => {
  assert.deepEqual({ ...of({}), isPagePrivate: false }, { ...OPEN });
});

test("rules hold on the paths that they name, whatever the query is", () => {
  const fit = (pattern) => of({ rules: [rule({ private: true }, [pattern])] }).isPrivate;
  for (const pattern of ["*", "/*", "/shop/cart", "/shop/*", "*cart", "/s*p/*t"]) assert.equal(fit(pattern), true, pattern);
  for (const pattern of ["/", "/shop", "/shop/car", "/shop/cart/*", "/SHOP/*", "/shop.cart"]) assert.equal(fit(pattern), false, pattern);
});

test("what is blocked and masked adds up, and wins over what is shown", () => {
  const rules = [rule({ mask: [".a"], show: [".b"] }), rule({ block: [".c"] }), rule({ mask: [".b"] }, ["/elsewhere"])];
  assert.deepEqual(verdicts(of({ rules })), ["masked", "masked", "shown", "shown", "blocked", "blocked"]);
  const settings = { mask: [".b"], show: [".a", ".c"] };
  assert.deepEqual(verdicts(of({ rules, page: settings })), ["masked", "masked", "masked", "masked", "blocked", "blocked"]);
});

test("what the operator shows is not shown on a page that is private by its own word", () => {
  const rules = [rule({ show: [".a"] })];
  assert.deepEqual(verdicts(of({ rules, isPrivate: true, page: { show: [".b"] } })).slice(0, 4), ["shown", "shown", "shown", "shown"]);
  assert.deepEqual(verdicts(of({ rules, page: { private: true, show: [".b"] } })).slice(0, 4), ["masked", "masked", "shown", "shown"]);
});

test("until rules have come, and the page has said what it announced, nothing leaves", () => {
  assert.match(policyOf({ rules: null, page: {}, isAwaited: false }, HERE, isValid).pause, /not been said/);
  assert.match(of({ isAwaited: true }).pause, /not been said/);
});

test("a page of these addresses is paused, with the operator's words", () => {
  assert.equal(of({ rules: [rule({ pause: "payment page" }, ["/shop/*"])] }).pause, "Paused by the site: payment page");
  assert.equal(of({ rules: [rule({ pause: "payment page" }, ["/pay"])] }).pause, null);
});

test("a selector that cannot be applied hides more, and is told", () => {
  const masked = of({ rules: [rule({ mask: ["?", ".a"], show: ["p"] })], page: { show: [".b"] } });
  assert.equal(new Set(verdicts(masked)).size, 1);
  assert.deepEqual([verdicts(masked)[0], masked.problems.length], ["masked", 1]);
  assert.match(masked.problems[0], /^mask \?: .*all of the page is masked/);
  const blocked = of({ page: { block: ["?"] } });
  assert.match(blocked.pause, /cannot be applied/);
  const shown = of({ rules: [rule({ show: ["?"] })] });
  assert.deepEqual([shown.pause, shown.base, verdicts(shown)[1]], [null, 0, "masked"]);
  assert.match(shown.problems[0], /it shows nothing/);
});

test("queries and the path leave where both allow them", () => {
  const [cdn, deep, other] = ["https://cdn.example/", "https://cdn.example/img/", "https://other.example/"];
  const cases = [
    [undefined, undefined, []], [[cdn], undefined, [cdn]], [undefined, [cdn], [cdn]], [[cdn], [deep], [deep]],
    [[deep], [cdn, other], [deep]], [[cdn], [], []], [[], [cdn], []], [[other], [cdn], []],
  ];
  for (const [operator, own, expected] of cases) {
    const rules = [rule(operator ? { queries: operator } : {})];
    assert.deepEqual(of({ rules, page: { queries: own } }).queries, expected, JSON.stringify([operator, own]));
  }
  const paths = [
    [undefined, undefined, false], ["path", undefined, true], [undefined, "path", true], ["site", "path", false],
    ["path", "site", false],
  ];
  for (const [operator, own, expected] of paths) {
    const rules = [rule(operator ? { address: operator } : {})];
    assert.equal(of({ rules, page: { address: own } }).tellsPath, expected, JSON.stringify([operator, own]));
  }
});

test("attributes are named whole, or by their start", () => {
  assert.equal(lists(["title", "data-x*"], "title") && lists(["title", "data-x*"], "data-xy"), true);
  assert.equal(lists(["title", "data-x*"], "titles") || lists(["title", "data-x*"], "data-y"), false);
});

test("the policy is the same object while it says the same", () => {
  const wanted = { rules: { private: false, rules: [rule({ mask: [".a"] }, ["/a/*"])] }, page: {}, isAwaited: false };
  let address = "https://site.example/b";
  const policies = new Policies(wanted, () => address, isValid);
  const first = policies.now();
  address = "https://site.example/c";
  assert.equal(policies.now(), first);
  address = "https://site.example/a/1";
  assert.notEqual(policies.now(), first);
  const masked = policies.now();
  wanted.rules = structuredClone(wanted.rules);
  assert.equal(policies.now(), masked);
  wanted.page = { private: true };
  assert.equal(policies.now().isPagePrivate, true);
});

test("a frame is judged by its own address, and one without by the page's", () => {
  const rules = [rule({ mask: [".a"] }, ["/a"]), rule({ pause: "payment" }, ["/pay"]), rule({ private: true }, ["/mine"])];
  const policies = new Policies({ rules: { private: false, rules }, page: {}, isAwaited: false }, () => "https://site.example/a", isValid);
  assert.equal(policies.at("about:srcdoc"), policies.now());
  assert.notEqual(policies.at("https://site.example/pay"), policies.now());
  for (let number = 0; number < 300; number += 1) policies.at(`https://site.example/${number}`);
  assert.equal(policies.known.size <= 100, true);
  assert.equal(policies.nameElements, true);
  assert.equal(new Policies({ rules: null, page: { mask: [] } }, null, isValid).nameElements, false);
  assert.equal(new Policies({ rules: null, page: { show: ["p"] } }, null, isValid).nameElements, true);
  const verdictIn = (path) => {
    const [frame, text] = [el("iframe"), el("p", {}, "text")];
    const top = page(frame);
    const document = inner(frame, text);
    const read = reader(top);
    const policyAt = (node) => (node === top || node.above === top ? policies.now() : policies.at(`https://site.example${path}`));
    const privacy = new Privacy({ read, memory: new Memory(read), policy: policies.now(), policyAt });
    return [privacy.verdict(text), privacy.verdict(document), privacy.verdict(frame)];
  };
  assert.deepEqual(verdictIn("/pay"), ["blocked", "blocked", "shown"]);
  assert.deepEqual(verdictIn("/mine"), ["masked", "masked", "shown"]);
  assert.deepEqual(verdictIn("/x"), ["shown", "shown", "shown"]);
});

// ── a page can be stricter than the rules, never laxer ───────────────────────────────────────────────────────────────

const STRICT = { blocked: 2, masked: 1, shown: 0 };

/** Numbers in [0, 1) from a seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function world(seed) {
  const next = random(seed);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const some = () => [".a", ".b", ".c", "p", "input", "#one", "[title]"].filter(() => next() < 0.3);
  const lists = () => ({ mask: some(), block: next() < 0.5 ? some().slice(0, 1) : [], show: some() });
  const tree = (depth) => {
    const attributes = {
      ...(next() < 0.4 ? { class: pick(["a", "b", "c"]) } : {}),
      ...(next() < 0.2 ? { id: "one" } : {}),
      ...(next() < 0.2 ? { title: "t" } : {}),
      ...(next() < 0.25 ? { [`data-site-connect-${pick(["mask", "show", "block"])}`]: "" } : {}),
    };
    const below = depth ? Array.from({ length: 1 + Math.floor(next() * 2) }, () => tree(depth - 1)) : [];
    return el(pick(["div", "p", "input", "span"]), attributes, ...below);
  };
  const wanted = {
    rules: { private: next() < 0.2, rules: [rule(lists()), rule(next() < 0.5 ? lists() : {})] },
    page: { private: next() < 0.2, ...lists() },
    isAwaited: false,
  };
  return { top: page(tree(3), tree(3)), wanted, some };
}

const elements = (it) => it.children.flatMap((child) => (child.type === 1 ? [child, ...elements(child)] : elements(child)));

function strictness(top, wanted) {
  const read = reader(top);
  const privacy = new Privacy({ read, memory: new Memory(read), policy: policyOf(wanted, HERE, isValid) });
  return elements(top).map((each) => STRICT[privacy.verdict(each)]);
}

test("whatever a page says: what the rules mask or block is masked or blocked; more masks never show more", () => {
  for (let seed = 1; seed <= 400; seed += 1) {
    const { top, wanted, some } = world(seed);
    const each = strictness(top, wanted);
    const least = (more, why) => {
      const other = strictness(top, more);
      each.forEach((level, at) => assert.ok(level >= other[at], `seed ${seed}: ${why}`));
    };
    const named = wanted.rules.rules.map(({ mask, block }) => rule({ mask, block, show: ["div", "p", "input", "span"] }));
    least({ ...wanted, page: {}, rules: { private: false, rules: named } }, "the rules' masks alone");
    least({ ...wanted, page: { ...wanted.page, show: [".a", ".b", "div", "p", "input", "span"] } }, "less is shown by the page");
    least({ ...wanted, page: { ...wanted.page, mask: [], block: [], private: false } }, "masks of the page only hide");
    const stricter = strictness(top, { ...wanted, page: { ...wanted.page, mask: [...wanted.page.mask, ...some()] } });
    stricter.forEach((level, at) => assert.ok(level >= each[at], `seed ${seed}: one mask more`));
  }
});
