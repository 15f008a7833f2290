// What is wanted of privacy on this page: the operator's rules, as the gateway tells them, and the page's own settings, by
// attributes of the script and by `site_connect.configure`. Pure. policy.js makes of both what holds.
//
// Before the page is recorded for the first time each call adds to what was said. Later calls can make it stricter only.

import { problem } from "./topics.js";

const LAX = ["show", "queries"]; // lists by which more leaves the page, not less
const isList = (value) => Array.isArray(value) && value.every((each) => typeof each === "string");
const LISTS = ["block", "mask", ...LAX];
const WORDS = ["private", "address"];

export class Settings {
  /** dataset: of the script's element, see index.js */
  constructor(dataset) {
    /** The page's: {private, address, block, mask, show, queries}; what it has not said is undefined. Replaced, never
     *  changed, by `configure`. */
    this.page = {
      private: "private" in dataset && dataset.private !== "false",
      address: dataset.address,
      queries: dataset.queries?.split(/\s+/),
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
    const next = { ...this.page };
    for (const [name, value] of Object.entries(given)) {
      const held = next[name];
      const isLax = this.isFixed && (LAX.includes(name) || value === "path");
      if (name === "private") next.private ||= Boolean(value);
      else if (isLax && !(isList(value) ? value.every((each) => held?.includes(each)) : value === held)) lax.push(name);
      else next[name] = isList(value) && !isLax ? [...(held ?? []), ...value] : value;
    }
    return next;
  }
}

/** Settings that can be understood. */
function checked(given) {
  for (const [name, value] of Object.entries(given)) {
    const fits = LISTS.includes(name) ? isList(value) : WORDS.includes(name);
    if (!fits) throw problem("TypeError", `invalid ${name}: expected a setting, and a list of strings`);
  }
  return given;
}
