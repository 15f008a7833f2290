// Which elements the selectors of a policy name, and whether that is another for one that the agent has been told of: any
// change of the page may do that, by an attribute, by what stands before an element, or by what is in it. Pure.

import { marksOf } from "./policy.js";

export class Flips {
  /** read: see dom.js · roots(): documents and shadow roots of the page · idOf(node): in the agent's picture
   *  policyAt(root): what holds there */
  constructor(read, roots, idOf, policyAt) {
    Object.assign(this, { read, roots, idOf, policyAt });
    /** Elements that selectors name, as they were when the agent was told last: element -> bits. `learn` and `changed`
     *  replace it. */
    this.named = new Map();
  }

  /** A snapshot is told: that is what the agent knows. */
  learn() {
    this.named = this.find();
  }

  /** Whether something that the agent knows is named otherwise than before. `adds`: what is told with this change. */
  changed(adds) {
    const before = this.named;
    this.named = this.find();
    const lost = [...before.keys()].filter((element) => !this.named.has(element) && this.read.isConnected(element));
    const others = [...this.named].filter(([element, bits]) => before.get(element) !== bits).map(([element]) => element);
    if (lost.length) return true;
    if (!others.length) return false;
    const fresh = new Set(adds.flatMap(({ node }) => idsIn(node)));
    return others.some((element) => !fresh.has(this.idOf(element)));
  }

  find() {
    const found = new Map();
    for (const root of this.roots()) {
      const policy = this.policyAt(root);
      const all = policy.selectors.map(([, selector]) => selector).join(", ");
      if (!all) continue;
      for (const element of this.read.all(root, all)) found.set(element, marksOf(policy, this.read, element));
    }
    return found;
  }
}

function idsIn({ id, childNodes = [] }) {
  return [id, ...childNodes.flatMap(idsIn)];
}
