// The one verdict on what may leave the page. Pure: it reads nodes through `read` (dom.js, or a test's own).
//
//   blocked   neither the node nor anything in it is told, but for the size of the box
//   masked    that there is text is told, and how long it is; not which
//   shown     it is told as it is
//
// Marks hold for an element with all that is in it: going up through parents, hosts of shadow roots, slots, and the
// frames of inner pages, all marks on the way are gathered. Blocked wins over masked, masked over shown:
//
//   data-site-connect-block, class site-connect-block, what a page cannot be asked about    blocked
//   data-site-connect-mask, what was ever secret (memory.js)                               masked
//   data-site-connect-show                                                                 shown
//   without a mark: fields and editors, and all of a private page                          masked
//   without a mark: the rest                                                               shown
//
// Rules of the operator and settings of the page name elements by selectors, as marks do: policy.js.

import { Likely } from "./likely.js";
import { ALLOW, BLOCK, MARKS, MASK, PAGE_PRIVATE, PRIVATE, SHOW, TYPED, hasBlockClass } from "./marks.js";
import { OPEN, marksOf } from "./policy.js";

export const BLOCKED = "blocked";
export const MASKED = "masked";
export const SHOWN = "shown";

const [BLOCK_MARK, MASK_MARK, SHOW_MARK] = MARKS;
const OWN = "site-connect"; // our own element: frame and sign

const TEXT = 3;
const ELEMENT = 1;
const ROOTS = new Set([9, 11]);
const EDITORS = /(^|\s)(CodeMirror|cm-editor|monaco-editor|ace_editor)(\s|$)/; // what is typed they show by other elements
const NO_TEXT = new Set(["submit", "button", "reset", "image", "checkbox", "radio"]);
const FIELDS = new Set(["input", "select", "textarea"]);

export class Privacy {
  /** read: see dom.js · memory: see memory.js, likely.js · policy: what holds on the page now, see policy.js; replaced, never
   *  changed · policyAt(node): what holds in the node's document, which may be a frame's */
  constructor({ read, memory, policy = OPEN, policyAt = () => this.policy }) {
    Object.assign(this, { read, memory, policy, policyAt, likely: new Likely(read, memory) });
    /** node -> bits, while one event is judged; the page does not change meanwhile. `begin` empties it. */
    this.known = new Map();
  }

  /** To be called when the page may have changed since the last verdict. */
  begin() {
    this.known = new Map();
  }

  /** The verdict on a node. A field is judged by what is typed into it. */
  verdict(node) {
    const found = this.judge(node, (bits) => (this.isField(node) ? bits | TYPED : bits));
    return found === SHOWN && this.hidesChoice(node) ? MASKED : found;
  }

  /** Whether an option is chosen in a list that may not be told. */
  hidesChoice(node) {
    if (this.read.type(node) !== ELEMENT || this.read.tag(node) !== "select") return false;
    return [...this.read.chosen(node)].some((option) => this.typed(option) !== SHOWN);
  }

  /** The verdict on what was typed or chosen at this node, whatever kind of node it is. */
  typed(node) {
    return this.judge(node, (bits) => bits | TYPED);
  }

  /** The verdict on style: without a mark it is shown, also on a private page, which could not be recognised else. */
  style(node) {
    return this.judge(node, (bits) => bits & ~(TYPED | PRIVATE | PAGE_PRIVATE));
  }

  /** Whether what has no mark is masked. */
  get isPrivate() {
    return this.policy.isPrivate || this.policy.isPagePrivate;
  }

  judge(node, also) {
    try {
      const bits = also(this.bits(node));
      if (bits & BLOCK) return BLOCKED;
      if (bits & MASK || (bits & PAGE_PRIVATE && !(bits & SHOW))) return MASKED;
      if (bits & (SHOW | ALLOW)) return SHOWN;
      return bits & (TYPED | PRIVATE) ? MASKED : SHOWN;
    } catch {
      return BLOCKED;
    }
  }

  /** The marks on the node and on all that is around it. */
  bits(node) {
    const known = this.known.get(node);
    if (known !== undefined) return known;
    const found = node ? this.own(node) | this.around(node) : BLOCK;
    this.known.set(node, found);
    return found;
  }

  around(node) {
    const { read } = this;
    if (node === read.top) return 0;
    const slot = read.slot(node);
    return this.bits(read.above(node)) | (slot ? this.bits(slot) : 0); // nothing above: nobody can know what it is
  }

  own(node) {
    const { read, memory } = this;
    const type = read.type(node);
    if (ROOTS.has(type)) return type === 9 ? this.ofDocument(node) : 0;
    if (type !== ELEMENT) return type === null ? BLOCK : 0;
    const tag = read.tag(node);
    if (memory.closed.has(node) || tag === OWN || read.has(node, BLOCK_MARK) || hasBlockClass(read.attribute(node, "class"))) return BLOCK;
    const isSecret = memory.isSecret(node) || this.likely.isSecret(node);
    if (isSecret && tag === "select") return BLOCK; // which option is chosen could be told from them
    let found = isSecret || read.has(node, MASK_MARK) ? MASK : 0;
    if (read.has(node, SHOW_MARK)) found |= SHOW;
    found |= marksOf(this.policyAt(node), read, node);
    if (tag === "textarea" || memory.isEditor(node) || EDITORS.test(read.attribute(node, "class"))) found |= TYPED;
    return found;
  }

  ofDocument(node) {
    const { pause, isPrivate, isPagePrivate, base } = this.policyAt(node);
    if (pause && node !== this.read.top) return BLOCK; // the page goes on, this frame does not
    const typed = this.memory.isEditor(node) ? TYPED : 0;
    return base | typed | (isPrivate ? PRIVATE : 0) | (isPagePrivate ? PAGE_PRIVATE : 0);
  }

  /** Whether text is typed or chosen in this element: a button and a tick box hold none. */
  isField(node) {
    const { read } = this;
    if (read.type(node) === TEXT || !FIELDS.has(read.tag(node))) return false;
    return read.tag(node) !== "input" || !NO_TEXT.has(inputType(read, node));
  }
}

/** The type of an <input>, in small letters. */
export function inputType(read, element) {
  return (read.attribute(element, "type") ?? "text").trim().toLowerCase();
}

/** A mask as long as the text, which tells its line breaks at most. */
export function mask(text) {
  return text.replace(/[^\n]/g, "*");
}

/** A mask for text that is laid out in words: where they end is told, so that it wraps as it did. */
export function maskWords(text) {
  return text.replace(/\S/g, "*");
}
