// Watches the page from its start: what is a password or an editor for a moment only is remembered (memory.js), and
// marks that come, go or change are told to whoever records. Reaches into shadow roots, and pages of frames of the same
// origin. Of the page it changes `attachShadow` only, to hear of it.

import { MARKS, hasBlockClass } from "./marks.js";
import { TELLING } from "./memory.js";

const WATCHED = {
  subtree: true,
  childList: true,
  attributeFilter: [...MARKS, "class", "slot", ...TELLING],
  attributeOldValue: true,
};
const TOUCHES = ["focusin", "input", "change"]; // what a person does to a field; a component may be met here first

export class Watch {
  constructor(dom, memory) {
    Object.assign(this, { dom, memory });
    /** Called when the verdict on something that is there may have changed; null while nobody records. */
    this.changed = null;
    /** Documents and shadow roots that are watched, and weak references to them; both only grow, but for those of
     *  `references` that nobody holds any more. */
    this.roots = new WeakSet();
    this.references = [];
    this.observer = new MutationObserver((records) => this.heard(records));
    this.look(document);
  }

  /** Take in what has happened up to now, of which the observer would hear only soon. */
  catchUp() {
    this.heard(this.observer.takeRecords());
  }

  /** The documents and shadow roots that are watched. */
  watched() {
    this.references = this.references.filter((each) => each.deref());
    return this.references.map((each) => each.deref()).filter(Boolean);
  }

  /** Look at a document, shadow root or element, and all in it. */
  look(node) {
    const { dom } = this;
    const type = dom.type(node);
    if (type === 9 || type === 11) {
      if (this.roots.has(node)) return;
      this.roots.add(node);
      this.references.push(new WeakRef(node));
      this.observer.observe(node, WATCHED);
      if (type === 9) this.listen(node), this.hearRoots(dom.view(node));
    } else if (type === 1) {
      this.meet(node);
    } else {
      return;
    }
    for (const each of dom.all(node)) {
      if (type === 9) this.memory.found(each);
      this.meet(each);
    }
  }

  listen(root) {
    for (const name of TOUCHES) root.addEventListener(name, (event) => this.touched(root, event), true);
    root.addEventListener("load", ({ target }) => this.meet(target), true); // a frame has another page
    this.memory.learn(root);
  }

  touched(root, event) {
    let fresh = this.memory.learn(root);
    for (const node of event.composedPath()) {
      const type = this.dom.type(node);
      if (type === 11) this.look(node);
      else if (type === 1) fresh = this.memory.learn(node) || fresh;
    }
    if (fresh) this.changed?.();
  }

  meet(element) {
    const { dom } = this;
    if (dom.type(element) !== 1) return;
    this.memory.learn(element);
    if (dom.tag(element) === "input") this.memory.open(element);
    const below = dom.shadow(element) ?? dom.inner(element);
    if (below) return this.look(below);
    const name = dom.tag(element);
    const isLate = name.includes("-") && dom.matches(element, ":not(:defined)");
    if (isLate) customElements.whenDefined(name).then(() => this.meet(element), () => {}); // no name of an element
  }

  heard(records) {
    const { dom, memory } = this;
    let changed = false;
    const inputs = (nodes) => [...nodes].flatMap((each) => dom.inputs(each));
    for (const { target, removedNodes } of records) {
      for (const node of removedNodes) if (!dom.isConnected(node)) memory.lost(target, inputs([node]));
    }
    for (const { type, target, attributeName, oldValue, addedNodes } of records) {
      if (type !== "childList" && this.isTold(target, attributeName, oldValue)) changed = true;
      if (memory.came(inputs(addedNodes))) changed = true;
      for (const node of addedNodes) this.look(node);
    }
    if (changed) this.changed?.();
  }

  /** From now on a shadow root is known as soon as it is there: one that is open is looked into, and of one that is closed
   *  nobody can say how it shows what is put into its host. */
  hearRoots(view) {
    const prototype = view?.Element.prototype;
    const attach = prototype?.attachShadow;
    if (!attach) return;
    const met = (host, root) => {
      if (this.dom.shadow(host)) return this.look(root);
      this.memory.closed.add(host);
      return this.changed?.();
    };
    prototype.attachShadow = function attachShadow(init) {
      const root = attach.call(this, init);
      met(this, root);
      return root;
    };
  }

  /** Whether the verdict on `element` and on what is in it may be another one, by this change of an attribute. */
  isTold(element, name, old) {
    const value = this.dom.attribute(element, name);
    if (MARKS.includes(name)) return (value === null) !== (old === null);
    if (name === "class") return hasBlockClass(value) !== hasBlockClass(old);
    if (name === "slot") return value !== old;
    return this.memory.was(element, name, old);
  }
}
