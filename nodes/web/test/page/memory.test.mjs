// What was ever a secret or an editor stays one, and so does what takes its place.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Likely } from "../../src/page/likely.js";
import { Memory } from "../../src/page/memory.js";
import { el, page, reader } from "./nodes.mjs";

const SHOW = { "data-site-connect-show": "" };

test("a password stays one, whatever becomes of its type, name and id", () => {
  const field = el("input", { type: "password", name: "word", id: "one" });
  const memory = new Memory(reader(page(field)));
  assert.equal(memory.learn(field), true);
  assert.equal(memory.learn(field), false, "nothing new");
  field.attributes = { type: "text" };
  assert.equal(memory.isSecret(field), true);
  assert.equal(memory.isSecret(el("input", { name: "word" })), true, "another field of its name");
  assert.equal(memory.isSecret(el("textarea", { name: "word" })), true);
  assert.equal(memory.isSecret(el("span", { id: "one" })), true, "any element of its id");
  assert.equal(memory.isSecret(el("a", { name: "word" })), false, "no field");
  assert.equal(memory.isSecret(el("input", { name: "other", id: "two" })), false);
});

test("what was a secret before anybody looked is known by the attribute that changed", () => {
  const cases = [["type", "password"], ["autocomplete", "cc-csc"], ["name", "cvv"], ["id", "otp"]];
  for (const [name, old] of cases) {
    const field = el("input", { type: "text" });
    const memory = new Memory(reader(page(field)));
    assert.equal(memory.isSecret(field), false);
    assert.equal(memory.was(field, name, old), true, name);
    assert.equal(memory.isSecret(field), true, name);
    assert.equal(memory.was(el("p"), name, old), false, `${name} of no field`);
  }
});

test("an editor stays one when editing has ended, and so does what has its id", () => {
  const line = el("p", { id: "line" });
  const memory = new Memory(reader(page(line)));
  assert.equal(memory.isEditor(line), false);
  assert.equal(memory.was(line, "contenteditable", "false"), false);
  assert.equal(memory.was(line, "contenteditable", "true"), true);
  assert.equal(memory.isEditor(line), true);
  assert.equal(memory.isEditor(el("p", { id: "line" })), true);
  assert.equal(memory.isEditor(el("p", { id: "other" })), false);
});

test("a text field that the script found beside a password, in a part that is shown, may have been one", () => {
  const read = (found, { marks = SHOW, own = {}, name = "q", late = "password", type = "text" } = {}) => {
    const [maybe, word] = [el("input", { name, ...(type ? { type } : {}), ...own }), el("input", { type: late })];
    const memory = new Memory(reader(page(el("form", marks, el("p", {}, maybe), word))));
    if (found) memory.found(maybe);
    memory.learn(word);
    return new Likely(memory.read, memory).isSecret(maybe) || memory.isSecret(maybe);
  };
  assert.equal(read(true), true);
  assert.equal(read(false), false, "it came later: what it was is known");
  assert.equal(read(true, { own: SHOW }), false, "it is marked by itself");
  assert.equal(read(true, { late: "text" }), false, "there is no password");
  assert.equal(read(true, { marks: {} }), false, "nothing is marked: it is masked anyway");
  assert.equal(read(true, { type: "" }), false, "a script that shows a password leaves a type");
});

test("fields that come to the place of a password are secret, whatever they are called; the next ones are not", () => {
  const [place, elsewhere] = [el("div"), el("div")];
  const [word, known] = [el("input", { type: "password" }), el("input", { name: "user" })];
  const memory = new Memory(reader(page(place, elsewhere)));
  const put = (where, attributes) => {
    const field = el("input", attributes);
    field.above = where;
    return field;
  };
  memory.learn(word);
  memory.open(known);
  memory.lost(place, [known]);
  assert.equal(memory.came([put(place, {})]), false, "no password has left");
  memory.lost(place, [known, word]);
  assert.equal(memory.came([put(elsewhere, {})]), false);
  assert.equal(memory.came([put(place, { type: "checkbox" }), word]), false, "nothing is typed there");
  const inner = el("span");
  inner.above = place;
  const [fresh, user] = [put(inner, {}), put(place, { name: "user" })];
  assert.equal(memory.came([fresh, user]), true);
  assert.deepEqual([fresh, user].map((each) => memory.isSecret(each)), [true, false], "its name is known for an open field's");
  assert.equal(memory.came([put(place, {})]), false, "the place is taken");
});

test("a name is known for an open field's only if that was no secret", () => {
  const [place, word] = [el("div"), el("input", { type: "password", name: "word" })];
  const memory = new Memory(reader(page(place)));
  memory.open(word);
  memory.learn(word);
  memory.lost(place, [word]);
  const field = el("input", { name: "word" });
  field.above = place;
  assert.equal(memory.came([field]), true);
  assert.equal(memory.isSecret(field), true);
});
