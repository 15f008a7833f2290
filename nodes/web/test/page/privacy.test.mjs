// The verdict on each node: which mark wins, through what it reaches, and what happens where nobody knows.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Memory } from "../../src/page/memory.js";
import { MARKS } from "../../src/page/marks.js";
import { OPEN } from "../../src/page/policy.js";
import { Privacy, mask, maskWords } from "../../src/page/privacy.js";
import { el, inner, page, reader, shadow } from "./nodes.mjs";

const [BLOCK, MASK, SHOW] = MARKS.map((name) => ({ [name]: "" }));

function privacy(top, more = {}) {
  const read = reader(top);
  return new Privacy({ read, memory: new Memory(read), policy: { ...OPEN, ...more } });
}

const WAYS = {
  parent: (top) => top,
  "two parents": (top) => top.children[0] ?? top,
  "a shadow root": (top) => shadow(top),
  "a frame": (top) => {
    const frame = el("iframe");
    frame.above = top;
    return inner(frame);
  },
  "a slot in another component": (top) => {
    const slotted = el("div");
    slotted.slot = el("slot");
    slotted.slot.above = top;
    slotted.above = el("host");
    return slotted;
  },
};

test("blocked wins over masked, masked over shown, in whichever order and through whatever they stand", () => {
  const cases = [
    [[BLOCK], "blocked"], [[{ class: "a site-connect-block b" }], "blocked"], [[MASK], "masked"], [[SHOW], "shown"],
    [[BLOCK, MASK], "blocked"], [[BLOCK, SHOW], "blocked"], [[MASK, SHOW], "masked"], [[BLOCK, MASK, SHOW], "blocked"],
    [[{ class: "site-connect-blocked" }], "shown"], [[{}], "shown"],
  ];
  for (const [marks, expected] of cases) {
    for (const order of [marks, [...marks].reverse()]) {
      for (const [way, through] of Object.entries(WAYS)) {
        const top = page();
        let at = top;
        for (const mark of order) {
          const next = el("div", mark);
          next.above = at;
          at = through(next);
          if (way === "a slot in another component") at.above.above = top;
        }
        const text = el("p", {}, "text");
        text.above = at;
        assert.equal(privacy(top).verdict(text.children[0]), expected, `${JSON.stringify(order)} through ${way}`);
      }
    }
  }
});

test("what has nothing above it, is no node, or throws, is blocked", () => {
  const top = page();
  const lost = el("p", SHOW, "text");
  const judge = privacy(top);
  for (const unknown of [lost, lost.children[0], null, undefined]) assert.equal(judge.verdict(unknown), "blocked");
  judge.read.above = () => {
    throw new Error("of another origin");
  };
  const held = el("p");
  assert.equal(judge.verdict(held), "blocked");
  assert.equal(judge.typed(held), "blocked");
  assert.equal(judge.style(held), "blocked");
});

test("without a mark: fields and editors are masked, buttons and text are shown; on a private page all is masked", () => {
  const elements = {
    input: [el("input"), "masked"],
    date: [el("input", { type: "date" }), "masked"],
    odd: [el("input", { type: " SUBMIT " }), "shown"],
    tick: [el("input", { type: "checkbox" }), "shown"],
    area: [el("textarea", {}, "x"), "masked"],
    select: [el("select"), "masked"],
    editor: [el("div", { contenteditable: "" }), "masked"],
    plaintext: [el("div", { contenteditable: "plaintext-only" }), "masked"],
    none: [el("div", { contenteditable: "False" }), "shown"],
    role: [el("div", { role: "TextBox" }), "masked"],
    code: [el("div", { class: "a CodeMirror b" }), "masked"],
    context: [Object.assign(el("canvas"), { editContext: {} }), "masked"],
    text: [el("p"), "shown"],
  };
  for (const [name, [element, expected]] of Object.entries(elements)) {
    const top = page(element);
    assert.equal(privacy(top).verdict(element), expected, name);
    assert.equal(privacy(top, { isPrivate: true }).verdict(element), "masked", name);
    assert.equal(privacy(top, { isPrivate: true }).style(element), "shown", `${name}: how it looks`);
    const marked = page(el("div", SHOW, element));
    assert.equal(privacy(marked, { isPrivate: true }).verdict(element), "shown", `${name}, marked`);
  }
  const area = el("textarea", {}, "x");
  assert.equal(privacy(page(area)).verdict(area.children[0]), "masked", "the text that it held first");
  const option = el("option", {}, "one");
  const judge = privacy(page(el("select", {}, option)));
  assert.equal(judge.verdict(option.children[0]), "shown", "what can be chosen is text of the page");
  assert.equal(judge.typed(option), "masked", "which is chosen is not");
});

test("a document in design mode is an editor, and stays one", () => {
  const text = el("p", {}, "x");
  const frame = el("iframe");
  const edited = inner(frame, text);
  const judge = privacy(page(frame));
  edited.designMode = "on";
  assert.equal(judge.verdict(text), "masked");
  edited.designMode = "off";
  judge.begin();
  assert.equal(judge.verdict(text), "masked");
});

test("secrets are masked also where they are marked as shown, and a secret choice is blocked", () => {
  const secrets = [
    { type: "password" }, { type: "Password" }, { autocomplete: "section-a billing CC-number" },
    { autocomplete: "one-time-code" }, { autocomplete: "new-password" }, { name: "cvc" }, { id: "cardNumber" },
    { name: "user[password]" }, { name: "otp" },
  ];
  for (const attributes of secrets) {
    const field = el("input", attributes);
    assert.equal(privacy(page(el("form", SHOW, field))).verdict(field), "masked", JSON.stringify(attributes));
  }
  for (const attributes of [{ name: "discard_notes" }, { id: "passport" }, { name: "option" }, { autocomplete: "name" }]) {
    const field = el("input", attributes);
    assert.equal(privacy(page(el("form", SHOW, field))).verdict(field), "shown", JSON.stringify(attributes));
  }
  const month = el("select", { autocomplete: "cc-exp-month" });
  assert.equal(privacy(page(el("form", SHOW, month))).verdict(month), "blocked");
});

test("our own element is blocked", () => {
  const ours = el("site-connect");
  assert.equal(privacy(page(el("div", SHOW, ours))).verdict(ours), "blocked");
});

test("verdicts are kept until the next event, and no longer", () => {
  const text = el("p");
  const judge = privacy(page(text));
  assert.equal(judge.verdict(text), "shown");
  text.attributes[MARKS[1]] = "";
  assert.equal(judge.verdict(text), "shown");
  judge.begin();
  assert.equal(judge.verdict(text), "masked");
});

test("masks are as long as the text, in ASCII", () => {
  assert.equal(mask("a b\nç"), "***\n*");
  assert.equal(maskWords("a b\nç"), "* *\n*");
  assert.equal(mask("€😀").length, "€😀".length);
});

test("the host of a shadow root that nobody can look into is blocked, with what is put into it", () => {
  const [host, text] = [el("my-a"), el("p", SHOW, "text")];
  host.children.push(Object.assign(text, { above: host }));
  const judge = privacy(page(host));
  judge.memory.closed.add(host);
  assert.deepEqual([host, text].map((each) => judge.verdict(each)), ["blocked", "blocked"]);
});

test("a choice is masked where an option is chosen that may not be told", () => {
  const [open, hidden] = [el("option", {}), el("option", MASK)];
  const list = el("select", SHOW, open, hidden);
  const judge = privacy(page(list));
  open.attributes.selected = "";
  assert.equal(judge.verdict(list), "shown");
  hidden.attributes.selected = "";
  assert.equal(judge.verdict(list), "masked");
});
