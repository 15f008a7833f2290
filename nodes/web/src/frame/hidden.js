// What an agent will not see of the page, in words for the visitor who is asked. Pure. The words come from the policy by which
// the recorder judges (src/page/policy.js), so that nothing is promised that no rule keeps.

import { BLOCK, MASK } from "../page/marks.js";
import { policyOf } from "../page/policy.js";

const ON_PURPOSE = "except what this site shows on purpose";
const ALWAYS = ["passwords", "card numbers", "one-time codes"];

/** A sentence, or some more. rules: the operator's, or null · page, isAwaited: see settings.js · address: of the page
 *  isValid(selector): does the browser know it */
export function hiddenWords(rules, { page, isAwaited, address }, isValid) {
  const policy = policyOf({ rules, page, isAwaited }, address, isValid);
  const words = `Hidden from them: ${joined([...ALWAYS, ...byPolicy(policy), "what this site marks as private"])}.`;
  return policy.pause ? `Nothing of this page is shown at present. ${policy.pause}. ${words}` : words;
}

function byPolicy({ base, isPrivate, isPagePrivate, selectors, tellsPath }) {
  const named = (bit) => selectors.some(([bits]) => bits & bit);
  const ruled = [named(BLOCK) && "parts of this page that this site leaves out", named(MASK) && "text that this site covers"];
  return [textWords(base & MASK, isPrivate || isPagePrivate), ...ruled, !tellsPath && "the address of this page"].filter(Boolean);
}

function textWords(isMasked, isPrivate) {
  if (isMasked) return "all text, and all that you type";
  if (isPrivate) return `all text and all that you type, ${ON_PURPOSE}`;
  return `what you type, ${ON_PURPOSE}`;
}

function joined(parts) {
  return `${parts.slice(0, -1).join("; ")}; and ${parts.at(-1)}`;
}
