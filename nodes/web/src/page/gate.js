// What the recorder emits passes here before it waits anywhere: each event leaves as the verdict on its nodes allows, or
// not at all. Pure: nodes are found by `nodeOf` (the recorder's mirror) and read through `privacy.read`. The recorder
// masks nothing by itself. What is not known here does not leave.
//
// An event is changed where it stands. Numbers of events are those of rrweb: `type`, and `data.source` of a change.

import { allowed, ofProperty } from "./attributes.js";
import { ofPage, ofStyle } from "./addresses.js";
import { BLOCKED, SHOWN, inputType, mask, maskWords } from "./privacy.js";

const META = 4;
const SNAPSHOT = 2;
const CHANGE = 3;
const DOCUMENT = 0;
const DOCTYPE = 1;
const ELEMENT = 2;
const TEXT = 3;
const UNSEEN = new Set(["title", "noscript", "script", "template"]); // their text is seen by nobody
const PICTURES = new Set(["img", "video", "canvas", "object", "embed", "image"]);

export class Gate {
  /** nodeOf(id): the node, or null */
  constructor(nodeOf, privacy) {
    Object.assign(this, { nodeOf, privacy, read: privacy.read });
    /** Style sheets that documents and shadow roots adopt: id -> {hosts: a set of nodes, rules: while not told}. */
    this.sheets = new Map();
    /** `data.source` of a change -> the function that judges it; others do not leave. */
    this.changes = {
      0: (data) => this.mutation(data),
      1: (data) => this.positions(data),
      2: (data) => this.ofNode(data),
      3: (data) => this.ofNode(data),
      4: (data) => data,
      5: (data) => this.input(data),
      6: (data) => this.positions(data),
      7: (data) => this.ofNode(data),
      8: (data) => this.rules(data),
      12: (data) => this.positions(data),
      13: (data) => this.declaration(data),
      14: (data) => this.selection(data),
      15: (data) => this.adopted(data),
      16: (data) => data,
    };
  }

  /** Return the event as it may leave, or null. */
  pass(event) {
    this.privacy.begin();
    const { type, data, timestamp } = event;
    if (type === META) return { ...event, data: { ...data, href: ofPage(data.href, this.privacy.policy.tellsPath) } };
    if (type === SNAPSHOT) {
      this.sheets.clear();
      return { ...event, data: { ...data, node: this.tree(data.node) } };
    }
    const change = type === CHANGE && Object.hasOwn(this.changes, data.source) && this.changes[data.source](data);
    return change ? { type, data: change, timestamp } : null;
  }

  verdict(id) {
    return this.privacy.verdict(this.nodeOf(id));
  }

  // ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A recorded node with all in it, as it may leave. */
  tree(recorded) {
    const node = this.nodeOf(recorded.id);
    const { type } = recorded;
    if (type === DOCTYPE) return recorded;
    if (this.privacy.verdict(node) === BLOCKED) return this.box(recorded, node);
    if (type === ELEMENT) return this.element(recorded, node);
    if (type === DOCUMENT) return { ...recorded, childNodes: this.trees(recorded) };
    return { ...recorded, textContent: type === TEXT ? this.text(node, recorded.textContent) : "" };
  }

  trees(recorded) {
    return recorded.childNodes.map((child) => this.tree(child));
  }

  element(recorded, node) {
    const { read } = this;
    const tag = read.tag(node);
    const attributes = allowed(node, this.withValue(recorded.attributes, node, tag), this);
    if (PICTURES.has(tag) && this.privacy.verdict(node) !== SHOWN) Object.assign(attributes, this.size(node));
    const isField = tag === "textarea"; // what it held first is its child
    return { ...recorded, attributes, childNodes: isField ? [] : this.trees(recorded) };
  }

  /** The recorder tells what a field holds only if it holds something: its attribute says what it held first. */
  withValue(attributes, node, tag) {
    const { value: _, ...others } = attributes;
    if (!this.privacy.isField(node)) return attributes;
    return tag === "textarea" || this.read.value(node) !== "" ? { ...others, value: "" } : others;
  }

  /** What is told of something blocked: its place in the page, by class, and its size. */
  box(recorded, node) {
    const { type, id, rootId, tagName, isSVG, isShadow } = recorded;
    if (type !== ELEMENT) {
      const empty = { type, id, rootId, isShadow };
      return type === DOCUMENT ? { ...empty, childNodes: [] } : { ...empty, textContent: "" };
    }
    const { class: place } = recorded.attributes;
    const attributes = { ...(place ? { class: place } : {}), ...this.size(node) };
    return { type, id, rootId, tagName, isSVG, isShadow, attributes, childNodes: [] };
  }

  size(node) {
    try {
      const [width, height] = this.read.size(node);
      return { rr_width: `${width}px`, rr_height: `${height}px` };
    } catch {
      return {}; // nobody knows the node
    }
  }

  text(node, text) {
    const { read, privacy } = this;
    const parent = read.above(node);
    const tag = parent && read.tag(parent);
    if (UNSEEN.has(tag)) return "";
    if (tag === "style") return this.style(parent, text);
    return privacy.verdict(node) === SHOWN ? text : maskWords(text);
  }

  // ── changes ────────────────────────────────────────────────────────────────────────────────────────────────────

  mutation({ source, texts, attributes, removes, adds, isAttachIframe }) {
    const told = {
      source,
      texts: texts.flatMap(({ id, value }) => this.changedText(id, value)),
      attributes: attributes.flatMap(({ id, attributes: changed }) => this.changedAttributes(id, changed)),
      removes,
      adds: adds.flatMap((add) => this.added(add)),
      ...(isAttachIframe ? { isAttachIframe } : {}),
    };
    return told.texts.length || told.attributes.length || removes.length || told.adds.length ? told : null;
  }

  changedText(id, value) {
    if (this.verdict(id) === BLOCKED) return [];
    return [{ id, value: value === null ? null : this.text(this.nodeOf(id), value) }];
  }

  changedAttributes(id, changed) {
    if (this.verdict(id) === BLOCKED) return [];
    const attributes = allowed(this.nodeOf(id), changed, this);
    return Object.keys(attributes).length ? [{ id, attributes }] : [];
  }

  /** In a box, nothing is added: of its content, the agent has no node. */
  added({ parentId, nextId, node }) {
    const isBelowBox = this.verdict(parentId) === BLOCKED;
    return isBelowBox ? [] : [{ parentId, nextId, node: this.tree(node) }];
  }

  input({ source, id, text, isChecked }) {
    const { read, privacy } = this;
    const node = this.nodeOf(id);
    const verdict = privacy.verdict(node);
    if (verdict === BLOCKED) return null;
    const type = read.tag(node) === "input" ? inputType(read, node) : "";
    if (type === "hidden" || type === "file") return null;
    if (type === "checkbox" || type === "radio") {
      return verdict === SHOWN ? { source, id, text: "", isChecked } : null;
    }
    const told = verdict === SHOWN ? text : privacy.isField(node) ? mask(text) : maskWords(text);
    return { source, id, text: told, isChecked: false };
  }

  ofNode(data) {
    return this.verdict(data.id) === BLOCKED ? null : data;
  }

  positions(data) {
    const positions = data.positions.filter(({ id }) => this.verdict(id) !== BLOCKED);
    return positions.length ? { ...data, positions } : null;
  }

  selection({ source, ranges }) {
    const told = ranges.filter(({ start, end }) => [start, end].every((id) => this.verdict(id) !== BLOCKED));
    return { source, ranges: told };
  }

  // ── style ──────────────────────────────────────────────────────────────────────────────────────────────────────

  style(owner, text) {
    return ofStyle(text, this.read.base(owner), this.styleOf([owner]));
  }

  /** How the text of a style sheet is judged that belongs to these nodes; null if it does not leave. */
  styleOf(owners) {
    const verdicts = owners.map((owner) => this.privacy.style(owner));
    if (!owners.length || verdicts.every((verdict) => verdict === BLOCKED)) return null;
    const isMasked = !verdicts.every((verdict) => verdict === SHOWN);
    return { queries: this.privacy.policyAt(owners[0]).queries, isMasked, hidesText: isMasked || this.privacy.isPrivate };
  }

  owners({ id, styleId }) {
    if (styleId) return [...(this.sheets.get(styleId)?.hosts ?? [])];
    const owner = this.nodeOf(id);
    return owner ? [owner] : [];
  }

  rules(data) {
    const owners = this.owners(data);
    const how = this.styleOf(owners);
    if (!how) return null;
    const cut = (text) => (typeof text === "string" ? ofStyle(text, this.read.base(owners[0]), how) : text);
    const { source, id, styleId, removes, adds, replace, replaceSync } = data;
    const told = adds?.map(({ rule, index }) => ({ rule: cut(rule), index }));
    return { source, id, styleId, removes, adds: told, replace: cut(replace), replaceSync: cut(replaceSync) };
  }

  declaration(data) {
    const owners = this.owners(data);
    const how = this.styleOf(owners);
    if (!how) return null;
    const { set } = data;
    if (typeof set?.value !== "string") return data;
    return { ...data, set: { ...set, value: ofProperty(set.property, set.value, this.read.base(owners[0]), how) } };
  }

  /** Sheets are told with the first that adopts them. If that is blocked, they are kept for the next. */
  adopted({ source, id, styleIds, styles = [] }) {
    const host = this.nodeOf(id);
    for (const { styleId, rules } of styles) this.sheets.set(styleId, { hosts: new Set(), rules });
    for (const styleId of styleIds) this.sheets.get(styleId)?.hosts.add(host);
    const how = this.styleOf([host]);
    if (!host || !how) return null;
    const told = [];
    for (const styleId of styleIds) {
      const sheet = this.sheets.get(styleId);
      if (!sheet?.rules) continue;
      const cut = ({ rule, index }) => ({ rule: ofStyle(rule, this.read.base(host), how), index });
      told.push({ styleId, rules: sheet.rules.map(cut) });
      sheet.rules = null;
    }
    return { source, id, styleIds, ...(told.length ? { styles: told } : {}) };
  }
}
