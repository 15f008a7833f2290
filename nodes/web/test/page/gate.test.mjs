// What the recorder emits, and what of it leaves.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Gate } from "../../src/page/gate.js";
import { Memory } from "../../src/page/memory.js";
import { Privacy } from "../../src/page/privacy.js";
import { el, inner, page, reader, shadow } from "./nodes.mjs";

const BLOCK = { "data-site-connect-block": "" };
const MASK = { "data-site-connect-mask": "" };
const SHOW = { "data-site-connect-show": "" };

/** A gate to a page, and the recorder's idea of the page: nodes as rrweb serialises them. */
function opened(...children) {
  const top = page(...children);
  const nodes = new Map();
  const serialised = (node) => {
    nodes.set(node.id, node);
    const { id, type, tag: tagName, attributes, text: textContent, children: below } = node;
    const childNodes = below.map(serialised);
    if (type === 9) return { type: 0, id, childNodes };
    return type === 1 ? { type: 2, id, tagName, attributes: { ...attributes }, childNodes } : { type: 3, id, textContent };
  };
  const read = reader(top);
  const privacy = new Privacy({ read, memory: new Memory(read) });
  const gate = new Gate((id) => nodes.get(id) ?? null, privacy);
  const root = serialised(top);
  const change = (data) => gate.pass({ type: 3, timestamp: 7, data })?.data ?? null;
  return { top, gate, root, serialised, change };
}

const mutation = (more) => ({ source: 0, texts: [], attributes: [], removes: [], adds: [], ...more });

test("a snapshot is told without what is blocked, masked or seen by nobody", () => {
  const shown = el("input", { value: "first" });
  shown.value = "now";
  const { gate, root } = opened(
    el("title", {}, "secret"),
    el("noscript", {}, "secret"),
    el("p", { title: "t" }, "plain"),
    el("p", MASK, "a b", el("img", { src: "/secret.png", alt: "x" })),
    el("section", { ...BLOCK, class: "c", title: "secret" }, el("p", {}, "secret")),
    el("div", SHOW, shown, el("input", { value: "first" }), el("textarea", {}, "secret")),
  );
  root.childNodes[5].childNodes[1].attributes.value = "secret"; // emptied: the recorder tells what it held first
  gate.read.value = (it) => (it === shown ? "now" : "");
  const { data } = gate.pass({ type: 2, timestamp: 7, data: { node: root, initialOffset: {} } });
  const [title, noscript, plain, masked, blocked, fields] = data.node.childNodes;
  assert.equal(title.childNodes[0].textContent + noscript.childNodes[0].textContent, "");
  assert.deepEqual([plain.attributes.title, plain.childNodes[0].textContent], ["t", "plain"]);
  assert.equal(masked.childNodes[0].textContent, "* *");
  assert.deepEqual(masked.childNodes[1].attributes, { alt: "*", rr_width: "30px", rr_height: "20px" });
  assert.deepEqual(blocked.attributes, { class: "c", rr_width: "30px", rr_height: "20px" });
  assert.deepEqual(blocked.childNodes, []);
  assert.equal(fields.childNodes[0].attributes.value, "now");
  assert.deepEqual(fields.childNodes[1].attributes, {});
  assert.deepEqual([fields.childNodes[2].attributes.value, fields.childNodes[2].childNodes], ["", []]);
  assert.ok(!JSON.stringify(data).includes("secret"));
});

test("the address of the page is cut", () => {
  const { gate } = opened();
  const meta = { type: 4, timestamp: 7, data: { href: "https://site.example/a?secret", width: 3, height: 4 } };
  assert.deepEqual(gate.pass(meta).data, { href: "https://site.example/…", width: 3, height: 4 });
});

test("what changes is judged where it stands now; nothing is told of what is below a box, in a frame, or unknown", () => {
  const frame = el("iframe", BLOCK);
  const card = el("my-card", BLOCK);
  const [within, rendered] = [el("p", {}, "secret"), el("p", {}, "secret")];
  const [text, masked] = [el("p", {}, "x"), el("p", MASK, "x")];
  const { change, serialised } = opened(frame, card, text, masked);
  const document = inner(frame, within);
  shadow(card, rendered);
  const sent = [document, within, rendered].map(serialised);
  const adds = [
    { parentId: frame.id, nextId: null, node: sent[0] },
    { parentId: card.id, nextId: null, node: sent[2] },
  ];
  assert.equal(change(mutation({ adds, isAttachIframe: true })), null);
  const texts = [within, rendered, text, masked].map((it) => ({ id: it.children[0].id, value: "a b" }));
  const ids = [text, masked].map((it) => it.children[0].id);
  assert.deepEqual(change(mutation({ texts: [...texts, { id: 99999, value: "secret" }] })).texts, [
    { id: ids[0], value: "a b" },
    { id: ids[1], value: "* *" },
  ]);
  const attributes = [within, rendered, text, masked].map(({ id }) => ({ id, attributes: { title: "ab", "data-x": "y" } }));
  assert.deepEqual(change(mutation({ attributes })).attributes, [
    { id: text.id, attributes: { title: "ab", "data-x": "y" } },
    { id: masked.id, attributes: { title: "**" } },
  ]);
  assert.deepEqual(change(mutation({ removes: [{ id: 3, parentId: 4 }] })).removes, [{ id: 3, parentId: 4 }]);
  for (const source of [1, 6, 12]) {
    const positions = [{ id: within.id, x: 1, y: 2 }, { id: text.id, x: 3, y: 4 }];
    assert.deepEqual(change({ source, positions }).positions, [positions[1]]);
    assert.equal(change({ source, positions: [positions[0]] }), null);
  }
  for (const source of [2, 3, 7]) {
    assert.equal(change({ source, id: rendered.id }), null);
    assert.deepEqual(change({ source, id: masked.id }), { source, id: masked.id });
  }
  const ranges = [{ start: text.id, end: rendered.id }, { start: text.id, end: masked.id }];
  assert.deepEqual(change({ source: 14, ranges }).ranges, [ranges[1]]);
});

test("a moved node is judged at its new place, and one that is blocked becomes a box", () => {
  const [moved, box, mask] = [el("p", {}, "a b"), el("b", BLOCK, "secret"), el("div", MASK)];
  const { change, serialised } = opened(el("div", {}, moved, box), mask);
  moved.above = mask;
  const sent = [moved, box].map((node) => ({ parentId: node.above.id, nextId: null, node: serialised(node) }));
  const { adds } = change(mutation({ adds: sent }));
  assert.equal(adds[0].node.childNodes[0].textContent, "* *");
  assert.deepEqual([adds[1].node.tagName, adds[1].node.childNodes], ["b", []]);
});

test("what is typed is told as a mask, but where it is shown", () => {
  const field = (attributes, tag = "input") => el(tag, attributes);
  const cases = [
    [field({}), "none", { text: "***", isChecked: false }],
    [field({}), "show", { text: "a b", isChecked: false }],
    [field({}), "block", null],
    [field({ type: "password" }), "show", { text: "***", isChecked: false }],
    [field({ type: "hidden" }), "show", null],
    [field({ type: "file" }), "show", null],
    [field({ type: "radio" }), "none", { text: "", isChecked: true }],
    [field({ type: "radio" }), "mask", null],
    [field({ type: "submit" }), "none", { text: "a b", isChecked: false }],
    [field({ type: "submit" }), "mask", { text: "* *", isChecked: false }],
    [field({}, "select"), "none", { text: "***", isChecked: false }],
    [field({ autocomplete: "cc-exp-month" }, "select"), "show", null],
  ];
  for (const [element, mark, expected] of cases) {
    const { change } = opened(el("div", { none: {}, show: SHOW, block: BLOCK, mask: MASK }[mark], element));
    const told = change({ source: 5, id: element.id, text: "a b", isChecked: true, userTriggered: true });
    assert.deepEqual(told, expected && { source: 5, id: element.id, ...expected }, `${JSON.stringify(element.attributes)} ${mark}`);
  }
  assert.equal(opened().change({ source: 5, id: 99999, text: "secret", isChecked: false }), null);
});

test("style sheets are told by whose they are; one that a blocked component adopted first is told with the next", () => {
  const [open, blocked] = [el("my-a"), el("my-b", BLOCK)];
  const [style, within] = [el("style"), el("style")];
  const { change } = opened(open, blocked, style, el("div", BLOCK, within));
  const rules = [{ rule: "a { background: url(/p.png?secret) }", index: 0 }];
  const styles = [{ styleId: 1, rules }];
  assert.equal(change({ source: 15, id: blocked.id, styleIds: [1], styles }), null);
  assert.equal(change({ source: 8, styleId: 1, adds: [{ rule: "a {}", index: 0 }] }), null);
  const told = change({ source: 15, id: open.id, styleIds: [1] });
  assert.deepEqual(told.styles, [{ styleId: 1, rules: [{ rule: 'a { background: url("https://site.example/p.png") }', index: 0 }] }]);
  assert.equal(change({ source: 15, id: open.id, styleIds: [1] }).styles, undefined, "once");
  const added = change({ source: 8, id: style.id, adds: [{ rule: "b { background: url(/q?secret) }", index: 0 }] });
  assert.equal(added.adds[0].rule, 'b { background: url("https://site.example/q") }');
  assert.equal(change({ source: 8, id: within.id, adds: [{ rule: "secret", index: 0 }] }), null);
  assert.equal(change({ source: 8, id: 99999, adds: [{ rule: "secret", index: 0 }] }), null);
  assert.equal(change({ source: 8, styleId: 2, replace: "secret" }), null);
  const set = { property: "background", value: "url(/q?secret)" };
  assert.equal(change({ source: 13, id: style.id, set, index: [0] }).set.value, 'url("https://site.example/q")');
});

test("an event that is not known does not leave", () => {
  const { gate, change } = opened();
  for (const source of [9, 10, 11, 99, "constructor", undefined]) assert.equal(change({ source, id: 1 }), null);
  for (const type of [0, 1, 5, 6, 99]) assert.equal(gate.pass({ type, timestamp: 7, data: {} }), null);
});
