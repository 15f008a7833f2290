// What holds on a page at its address: the operator's rules and the page's own settings, merged. Pure. A page can be
// stricter than the rules, never laxer:
//
//   block, mask   what either names is blocked, or masked
//   show          what either names is shown, where neither blocks or masks it; on a page that is private by its own word
//                 only what the page names
//   private       if either says so
//   queries, address   what both allow; where one of them says nothing, what the other allows
//
// What cannot be applied hides more, not less: with a selector that the browser does not know to mask, all is masked; with
// one to block, nothing leaves.

import { prefixes } from "./addresses.js";
import { ALLOW, BLOCK, MASK, SHOW } from "./marks.js";

/** A page without rules and settings. */
export const OPEN = {
  pause: null, // why nothing may leave, in words
  isPrivate: false, // by the operator
  isPagePrivate: false, // by the page itself
  base: 0, // bits of privacy.js that hold for the whole page
  selectors: [], // [bits, selector]
  deny: [], // attributes that do not leave; `data-*` stands for all that begin so
  allow: [], // attributes that leave where text is shown, however long they are
  queries: [], // prefixes of addresses that keep their query
  tellsPath: false, // whether the path of the page's address is told
  problems: [], // what cannot be applied, in words
};
const UNKNOWN = "Paused by the site: it has not been said yet what may be shown";
const BROKEN = "Paused by the site: one of its privacy rules cannot be applied";

/** What holds at `address`. wanted: {rules, page, isAwaited}, see settings.js · isValid(selector): does the browser know it */
export function policyOf({ rules, page, isAwaited }, address, isValid) {
  if (!rules || isAwaited) return { ...OPEN, pause: UNKNOWN };
  const { pathname } = new URL(address, "http://nowhere.invalid");
  const here = rules.rules.filter(({ paths }) => paths.some((path) => fits(path, pathname)));
  const all = (name) => here.flatMap((rule) => rule[name] ?? []);
  const names = (name) => here.some((rule) => name in rule);
  const wanted = [
    [BLOCK, "block", [...all("block"), ...(page.block ?? [])]],
    [MASK, "mask", [...all("mask"), ...(page.mask ?? [])]],
    [ALLOW, "show", all("show")],
    [SHOW, "show", page.show ?? []],
  ];
  const broken = wanted.flatMap(([bits, name, list]) => list.filter((each) => !isValid(each)).map((each) => [bits, name, each]));
  const reason = here.find(({ pause }) => pause)?.pause;
  const pause = reason ? `Paused by the site: ${reason}` : null;
  const addresses = [...all("address"), page.address];
  return {
    pause: pause ?? (broken.some(([bits]) => bits === BLOCK) ? BROKEN : null),
    isPrivate: rules.private || here.some((rule) => rule.private),
    isPagePrivate: page.private,
    base: broken.some(([bits]) => bits === MASK) ? MASK : 0,
    selectors: wanted.flatMap(([bits, , list]) => joined(bits, list.filter(isValid))),
    deny: all("deny_attributes"),
    allow: all("allow_attributes"),
    queries: both(names("queries") ? all("queries") : undefined, page.queries && prefixes(page.queries)),
    tellsPath: addresses.includes("path") && !addresses.includes("site"),
    problems: broken.map(([bits, name, each]) => `${name} ${each}: no selector that this browser knows; ${INSTEAD[bits]}`),
  };
}

const INSTEAD = {
  [BLOCK]: "nothing of the page is shown",
  [MASK]: "all of the page is masked",
  [SHOW]: "it shows nothing",
  [ALLOW]: "it shows nothing",
};

/** Whether a path fits a pattern, in which * stands for anything. */
function fits(pattern, path) {
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s").test(path);
}

function joined(bits, list) {
  return list.length ? [[bits, list.join(", ")]] : [];
}

/** Prefixes that both lists allow; a list that is undefined says nothing. */
function both(one, other) {
  if (!one || !other) return one ?? other ?? [];
  const within = (list, of) => list.filter((each) => of.some((prefix) => each.startsWith(prefix)));
  return [...new Set([...within(one, other), ...within(other, one)])];
}

/** The bits that the selectors of a policy give to this very element. */
export function marksOf({ selectors }, read, element) {
  return selectors.reduce((found, [bits, selector]) => (read.matches(element, selector) ? found | bits : found), 0);
}

/** Whether a list of attributes names this one, which is in small letters. */
export function lists(list, name) {
  return list.some((each) => (each.endsWith("*") ? name.startsWith(each.slice(0, -1)) : each === name));
}

const MOST = 100; // addresses that are remembered
const WEB = /^https?:/;

/** The policies of the addresses on a page, as they are now: the same object for as long as it says the same. */
export class Policies {
  /** wanted: {rules, page, isAwaited} · address(): of the page · isValid(selector) */
  constructor(wanted, address, isValid) {
    Object.assign(this, { wanted, address, isValid });
    /** What the policies were made from. */
    this.from = [];
    /** Address -> policy, from these, at most MOST; and what a policy says, as JSON -> policy. `at` alone changes them. */
    this.known = new Map();
    this.same = new Map([[JSON.stringify(OPEN), OPEN]]);
  }

  /** Whether selectors name elements, anywhere. */
  get nameElements() {
    const { rules, page } = this.wanted;
    return [page, ...(rules?.rules ?? [])].some(({ block, mask, show }) => [block, mask, show].some((each) => each?.length));
  }

  /** What holds on the page. */
  now() {
    return this.at(this.address());
  }

  /** What holds in a document at this address; one without an address on the web is part of the page. */
  at(address) {
    const { rules, page, isAwaited } = this.wanted;
    const from = [rules, page, isAwaited];
    if (from.some((each, at) => each !== this.from[at]) || this.known.size >= MOST) {
      this.from = from;
      this.known.clear();
    }
    const where = WEB.test(address) ? address : this.address();
    if (!this.known.has(where)) {
      const next = policyOf(this.wanted, where, this.isValid);
      const said = JSON.stringify(next);
      if (!this.same.has(said)) this.same.set(said, next);
      this.known.set(where, this.same.get(said));
    }
    return this.known.get(where);
  }
}
