// What of a page's events may be rebuilt on an agent's screen. A page writes its events itself, and may write anything. What
// could run, navigate, take the keyboard or ask somebody for something is taken out of snapshots and changes before they
// are rebuilt; the sandbox of the picture and the console's content policy stand behind. Pure, but that it changes what it
// is given: a text that was just parsed.
//
//   const cleaner = new Cleaner();               // for one snapshot and what follows it
//   const events = cleaner.clean(parsed);        // cleaner.isCut: it was more than can be shown

import { attributesOf, changesOf } from "./safe_attributes.js";

const META = 4;
const SNAPSHOT = 2;
const CHANGE = 3;
const MUTATION = 0;
// Mutation, mouse, touch, scroll, size, input, style, drag, selection, sheets, custom elements. Not: media, canvas, fonts.
const SOURCES = new Set([MUTATION, 1, 2, 3, 4, 5, 6, 8, 12, 13, 14, 15, 16]);
const RENAMED = {
  __proto__: null,
  ...Object.fromEntries(["object", "embed", "applet", "portal", "fencedframe", "frame", "frameset"].map((tag) => [tag, "div"])),
  base: "meta",
  param: "meta",
};
const [DOCUMENT, DOCTYPE, ELEMENT, TEXT, COMMENT] = [0, 1, 2, 3, 5];
const TAG = /^[a-z][a-z0-9:._-]*$/;
const NOTHING_WITHIN = new Set(["script", "meta", "base", "param"]);
export const LIMITS = {
  nodes: 150_000, // of a snapshot and what is added to it; a recorder stops at 60,000 elements
  depth: 500, // as deep as a browser's own parser goes
  cssChars: 5_000_000, // a console parses about so many in a second
};

export class Cleaner {
  constructor(limits = LIMITS) {
    this.limits = limits;
    /** Nodes that were let through; only goes up. */
    this.nodes = 0;
    /** Characters of style that were let through; only goes up. */
    this.cssChars = 0;
    /** Whether something was left out since it was more than may be. */
    this.isCut = false;
    /** id -> `link`, `meta` or `iframe`: elements whose attributes mean more than others'. None is ever forgotten, since
     *  an id that is used again need not stand for the new element. */
    this.special = new Map();
  }

  /** Return those of the events that may be rebuilt, without what may not be in them. */
  clean(events) {
    return events.filter((event) => isObject(event) && isObject(event.data) && this.passes(event));
  }

  passes({ type, data }) {
    if (type === META) return this.meta(data);
    if (type === SNAPSHOT) return isNode(data.node) && data.node.type === DOCUMENT && this.tree(data.node);
    if (type !== CHANGE || !SOURCES.has(data.source)) return false;
    return data.source !== MUTATION || this.mutation(data);
  }

  meta(data) {
    for (const name of ["width", "height"]) data[name] = Math.min(Math.max(Number(data[name]) || 1, 1), 20_000);
    data.href = typeof data.href === "string" ? data.href.slice(0, 2_000) : "";
    return true;
  }

  mutation(data) {
    data.adds = list(data.adds).filter((add) => isNode(add.node) && this.hasRoom() && this.tree(add.node));
    data.removes = list(data.removes);
    data.texts = list(data.texts).filter(({ value }) => value === null || typeof value === "string");
    data.attributes = list(data.attributes).filter((change) => {
      const kind = this.special.get(change.id);
      change.attributes = changesOf(isObject(change.attributes) ? change.attributes : {}, kind, this);
      return true;
    });
    return true;
  }

  /** Clean a node with all below it. */
  tree(root) {
    const todo = [[root, 1]];
    while (todo.length) {
      const [node, depth] = todo.pop();
      this.node(node);
      if (!("childNodes" in node)) continue;
      const children = node.childNodes.filter(isNode);
      node.childNodes = depth < this.limits.depth ? children.filter(() => this.hasRoom()) : [];
      if (node.childNodes.length < children.length) this.isCut = true;
      for (let at = node.childNodes.length - 1; at >= 0; at -= 1) todo.push([node.childNodes[at], depth + 1]);
    }
    return true;
  }

  /** Whether there is room for one more node, which takes it. */
  hasRoom() {
    const isThere = this.nodes < this.limits.nodes;
    if (isThere) this.nodes += 1;
    else this.isCut = true;
    return isThere;
  }

  /** Whether so much more style may be parsed. */
  hasRoomForCss(text) {
    this.cssChars += text.length;
    if (this.cssChars > this.limits.cssChars) this.isCut = true;
    return this.cssChars <= this.limits.cssChars;
  }

  node(node) {
    if (node.type === ELEMENT) return this.element(node);
    if (node.type === DOCUMENT) node.childNodes = list(node.childNodes);
    else delete node.childNodes;
    if (node.type === TEXT || node.type === COMMENT || node.type === 4) {
      node.textContent = typeof node.textContent === "string" ? node.textContent : "";
      if (node.isStyle && !this.hasRoomForCss(node.textContent)) node.textContent = "";
    }
    if (node.type === DOCTYPE) for (const name of ["name", "publicId", "systemId"]) node[name] = String(node[name] ?? "");
    return undefined;
  }

  element(node) {
    const said = typeof node.tagName === "string" ? node.tagName.toLowerCase() : "";
    const tag = TAG.test(said) ? said : "div";
    const attributes = attributesOf(tag, isObject(node.attributes) ? node.attributes : {}, this);
    node.tagName = attributes === null ? "meta" : (RENAMED[tag] ?? tag);
    node.attributes = attributes ?? {};
    node.childNodes = NOTHING_WITHIN.has(tag) || attributes === null ? [] : list(node.childNodes);
    if (["link", "meta", "iframe"].includes(node.tagName)) this.special.set(node.id, node.tagName);
  }
}

function list(value) {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

function isNode(node) {
  return isObject(node) && Number.isInteger(node.id) && [DOCUMENT, DOCTYPE, ELEMENT, TEXT, 4, COMMENT].includes(node.type);
}
