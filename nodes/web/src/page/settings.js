// What is wanted of privacy on this page: the operator's rules, as the gateway tells them, and the page's own settings, by
// attributes of the script and by `site_connect.configure`. Pure. policy.js makes of both what holds.
//
// Before the page is recorded for the first time each call adds to what was said. Later calls can make it stricter only.

import { problem } from "./topics.js";

const LISTS = ["block", "mask", "show", "queries"];
const LAX = ["show", "queries"]; // lists by which more leaves the page, not less

export class Settings {
  /** dataset: of the script's element, see index.js · prefixes(list): of addresses, as they are compared */
  constructor(dataset, prefixes) {
    this.prefixes = prefixes;
    /** The page's: {private, address, block, mask, show, queries}; what it has not said is undefined. Replaced, never
     *  changed, by `configure`. */
    this.page = {
      private: "private" in dataset && dataset.private !== "false",
      address: dataset.address === "path" ? "path" : undefined,
      queries: dataset.queries === undefined ? undefined : prefixes(dataset.queries.split(/\s+/)),
    };
    /** The operator's: {private, rules}, see docs/web-protocol.md; null until the gateway has told them. */
    this.rules = null;
    /** Whether the page has said that it will call `configure`, and has not yet. */
    this.isAwaited = "configure" in dataset;
    /** Whether the page was recorded by these. */
    this.isFixed = false;
    /** Called when one of these is another one; null while nobody records. */
    this.changed = null;
  }

  take(rules) {
    this.rules = rules;
    this.changed?.();
  }

  /** Errors: TypeError for what is no setting: then the page is private, since nobody knows what was meant. SettingsError
   *  for what would be laxer than what the page was recorded by; the rest of the call holds. */
  configure(given) {
    const lax = [];
    try {
      this.page = this.joined(checked(given), lax);
    } catch (error) {
      this.page = { ...this.page, private: true };
      throw error;
    } finally {
      this.isAwaited = false;
      this.changed?.();
    }
    if (lax.length) throw problem("SettingsError", `${lax.join(", ")}: an agent has seen the page; expected what is stricter`);
  }

  joined(given, lax) {
    const next = { ...this.page, private: this.page.private || given.private === true };
    if (given.address === "site" || (given.address && !this.isFixed)) next.address = given.address;
    else if (given.address && given.address !== next.address) lax.push("address");
    for (const name of LISTS) {
      if (!given[name]) continue;
      const list = name === "queries" ? this.prefixes(given[name]) : given[name];
      const held = next[name];
      if (!this.isFixed || !LAX.includes(name)) next[name] = [...new Set([...(held ?? []), ...list])];
      else if (list.every((each) => held?.includes(each))) next[name] = list;
      else lax.push(name);
    }
    return next;
  }
}

function checked(given) {
  for (const [name, value] of Object.entries(given)) {
    const fits = LISTS.includes(name)
      ? Array.isArray(value) && value.every((each) => typeof each === "string")
      : name === "private"
        ? typeof value === "boolean"
        : name === "address" && (value === "site" || value === "path");
    if (!fits) throw problem("TypeError", `configure: ${name} is no setting, or not of this kind; the page is private now`);
  }
  return given;
}
