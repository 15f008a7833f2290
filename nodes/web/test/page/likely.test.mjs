// Fields that are secret by what stands beside them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Likely } from "../../src/page/likely.js";
import { Memory } from "../../src/page/memory.js";
import { el, page, reader } from "./nodes.mjs";

function judged(field, { around = field, early = false } = {}) {
  const read = reader(page(around));
  const memory = new Memory(read);
  if (early) memory.early.add(field);
  return new Likely(read, memory).isSecret(field) && memory.isSecret(field);
}

const SECRET = [
  "Password", "Your new pass phrase", "Passwort *", "Mot de passe", "Contraseña", "Kennwort", "PIN", "Enter your TAN:",
  "CVC", "CVV2 (3 digits)", "Security code", "Card verification number", "Prüfziffer", "Sicherheitscode", "Kartenprüfnummer",
  "6-digit code", "One-time code", "SMS code", "Verification code", "Bestätigungscode", "Code de vérification", "Card number",
  "Kartennummer", "Numéro de carte", "Número de tarjeta", "Kreditkarten-Nr.", "Expiry date", "Expires (MM/YY)", "Gültig bis",
  "パスワード", "OTP",
];
const OPEN = [
  "Name", "Street and number", "Post code", "Discount code", "Opinion", "Spinning wheel", "Standard delivery", "Stand", "Phone",
  "Gift card message", "Passport office", "Expected arrival", "Business card text", "Country code", "Compass", "Options",
];

test("words beside a field say that it is secret, in whichever way they stand there", () => {
  for (const words of SECRET) {
    assert.equal(judged(el("input", { placeholder: words })), true, words);
    assert.equal(judged(el("input", { "aria-label": words.toUpperCase() })), true, words);
    assert.equal(judged(Object.assign(el("textarea"), { labels: [`${words} `] })), true, words);
    const field = Object.assign(el("select"), { before: words });
    assert.equal(judged(field), true, words);
    const inner = el("input");
    assert.equal(judged(inner, { around: Object.assign(el("td", {}, inner), { before: words }) }), true, words);
  }
});

test("other words do not", () => {
  for (const words of OPEN) assert.equal(judged(el("input", { placeholder: words, name: "x" })), false, words);
  const labelled = Object.assign(el("input", { "aria-label": "Name" }), { before: "Password" });
  assert.equal(judged(labelled), false, "the text before it is of another field");
  const far = Object.assign(el("input"), { before: `If you have forgotten your password, ${"write to us. ".repeat(5)}` });
  assert.equal(judged(far), false, "what is long is no label");
});

test("what holds no text is no such field", () => {
  for (const type of ["checkbox", "submit", "Hidden", "image"]) assert.equal(judged(el("input", { type, title: "Password" })), false, type);
  assert.equal(judged(el("p", { title: "Password" })), false);
});

test("boxes for a single character are secret", () => {
  assert.equal(judged(el("input", { maxlength: "1", name: "x" })), true);
  assert.equal(judged(el("input", { maxlength: "10" })), false);
});

test("a text field that the script found, of which nothing says what it is, is secret", () => {
  assert.equal(judged(el("input", { type: "text", id: "p" }), { early: true }), true);
  assert.equal(judged(el("input", { type: "text", name: "q" }), { early: true }), false);
  assert.equal(judged(el("input", { type: "text", placeholder: "Search" }), { early: true }), false);
  assert.equal(judged(el("input", { type: "text" })), false, "it came later: what it was is known");
});

test("so is one beside a password, in a part that is shown, of which nothing says what it is", () => {
  for (const [attributes, expected] of [[{}, true], [{ name: "user" }, false], [{ placeholder: "Name" }, false]]) {
    const [field, word] = [el("input", attributes), el("input", { type: "password" })];
    const read = reader(page(el("form", { "data-site-connect-show": "" }, field, word)));
    const memory = new Memory(read);
    memory.learn(word);
    assert.equal(new Likely(read, memory).isSecret(field), expected, JSON.stringify(attributes));
  }
});

test("it stays secret when the words go", () => {
  const field = el("input", { placeholder: "CVC" });
  const read = reader(page(field));
  const memory = new Memory(read);
  assert.equal(new Likely(read, memory).isSecret(field), true);
  field.attributes = {};
  assert.equal(memory.isSecret(field), true);
});
