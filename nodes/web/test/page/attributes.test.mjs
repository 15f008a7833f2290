// Which attributes leave a page, by the verdict on their element.
import assert from "node:assert/strict";
import { test } from "node:test";

import { allowed } from "../../src/page/attributes.js";
import { MASK } from "../../src/page/marks.js";
import { Memory } from "../../src/page/memory.js";
import { OPEN } from "../../src/page/policy.js";
import { Privacy } from "../../src/page/privacy.js";
import { el, page, reader } from "./nodes.mjs";

const MARKS = { none: {}, mask: { "data-site-connect-mask": "" }, show: { "data-site-connect-show": "" } };

/** What is told of `element`, within a mark. */
function told(element, mark = "none", found = element.attributes) {
  const top = page(el("div", MARKS[mark], element));
  const read = reader(top);
  return allowed(element, found, { privacy: new Privacy({ read, memory: new Memory(read) }) });
}

test("what makes it look right is told everywhere", () => {
  const looks = {
    class: "a", id: "b", style: "color: red", role: "tab", width: "3", colspan: "2", viewBox: "0 0 1 1", d: "M0 0",
    dir: "rtl", hidden: "", "aria-hidden": "true", "aria-expanded": "false", rr_scrollTop: 3, rr_width: "3px", fill: "url(#a)",
    "_ngcontent-abc": "", disabled: "",
  };
  for (const mark of Object.keys(MARKS)) assert.deepEqual(told(el("p", looks), mark), looks, mark);
});

test("what nobody sees, and what is named like a token, is told nowhere", () => {
  const never = {
    srcdoc: "secret", onclick: "secret", nonce: "secret", integrity: "secret", action: "/secret", formaction: "/secret",
    ping: "/secret", "data-csrf": "secret", "data-auth": "secret", "api-key": "secret", session: "secret", name: "secret",
    "data-page": "s".repeat(101), "aria-hidden": undefined, "☃": "secret",
  };
  delete never["aria-hidden"];
  for (const mark of Object.keys(MARKS)) assert.deepEqual(told(el("p", never), mark), {}, mark);
});

test("text in attributes is told where text is shown, and masked else", () => {
  const texts = { title: "a b", "aria-label": "cd", alt: "e" };
  const masked = { title: "* *", "aria-label": "**", alt: "*" };
  const others = { "data-theme": "dark", "aria-valuenow": "4711", variant: "primary" };
  assert.deepEqual(told(el("p", { ...texts, ...others })), { ...texts, ...others });
  assert.deepEqual(told(el("p", { ...texts, ...others }), "mask"), masked);
  assert.deepEqual(told(el("p", {}), "mask", { title: null, "data-x": null }), { title: null, "data-x": null }, "removed");
});

test("what a field says is masked unless the field is shown", () => {
  const field = () => Object.assign(el("input", { placeholder: "a b", title: "cd", value: "first", name: "x" }), { value: "now" });
  const closed = { placeholder: "* *", title: "**", value: "***" };
  assert.deepEqual(told(field()), closed);
  assert.deepEqual(told(field(), "mask"), closed);
  assert.deepEqual(told(field(), "show"), { placeholder: "a b", title: "cd", value: "now" });
  assert.deepEqual(told(el("input", { type: "hidden", value: "secret", id: "secret" }), "show"), { type: "hidden" });
  assert.deepEqual(told(el("input", { type: "file", value: "secret" }), "show"), { type: "file" });
  assert.deepEqual(told(el("input", { type: "submit", value: "a b" })), { type: "submit", value: "a b" });
  assert.deepEqual(told(el("input", { type: "submit", value: "a b" }), "mask"), { type: "submit", value: "* *" });
  assert.deepEqual(told(el("input", { type: "radio", value: "secret", checked: true })), { type: "radio", checked: true });
  assert.deepEqual(told(el("input", { type: "radio", value: "secret", checked: true }), "mask"), { type: "radio" });
  assert.deepEqual(told(el("meter", { value: "4711" }), "mask"), {});
});

test("which option is chosen is told where the choice is shown", () => {
  const option = () => el("option", { value: "v", selected: true, label: "ab" });
  const choice = (mark) => {
    const one = option();
    return told(el("select", {}, one), mark) && one;
  };
  const of = (mark) => {
    const one = choice(mark);
    const read = reader(one.above.above.above);
    return allowed(one, one.attributes, { privacy: new Privacy({ read, memory: new Memory(read) }) });
  };
  assert.deepEqual(of("none"), { label: "ab" });
  assert.deepEqual(of("mask"), { label: "**" });
  assert.deepEqual(of("show"), { value: "v", selected: true, label: "ab" });
});

test("an element that holds a masked field may copy what is typed, so what it carries is not told", () => {
  const holder = (field) => el("div", { "data-replicated-value": "secret", class: "grow" }, field);
  assert.deepEqual(told(holder(el("textarea"))), { class: "grow" });
  assert.deepEqual(told(holder(el("textarea")), "show"), { class: "grow", "data-replicated-value": "secret" });
  assert.deepEqual(told(holder(el("button"))), { class: "grow", "data-replicated-value": "secret" });
});

test("addresses", () => {
  const link = () => el("a", { href: "https://site.example/other?secret#secret" });
  assert.deepEqual(told(link()), { href: "https://site.example/other" });
  assert.deepEqual(told(link(), "mask"), { href: "#" });
  const picture = () => el("img", { src: "/a.png?secret", srcset: "/a.png?secret 2x" });
  assert.deepEqual(told(picture()), { src: "https://site.example/a.png", srcset: "https://site.example/a.png 2x" });
  assert.deepEqual(told(picture(), "mask"), {});
  assert.deepEqual(told(el("link", { rel: "stylesheet", href: "/a.css?secret" })), { rel: "stylesheet", href: "https://site.example/a.css" });
  assert.deepEqual(told(el("link", { rel: "canonical", href: "/secret" })), { rel: "canonical" });
  assert.deepEqual(told(el("base", { href: "/secret" })), {});
  assert.deepEqual(told(el("use", { href: "#cart" }), "mask"), { href: "#cart" });
});

test("meta elements tell how the page is laid out, and nothing else", () => {
  assert.deepEqual(told(el("meta", { name: "_csrf", content: "secret" })), {});
  assert.deepEqual(told(el("meta", { property: "og:title", content: "secret" })), {});
  assert.deepEqual(told(el("meta", { charset: "utf-8" })), { charset: "utf-8" });
  assert.deepEqual(told(el("meta", { name: "Viewport", content: "width=3" })), { name: "viewport", content: "width=3" });
});

test("style is told as text or as changes, and loses in a mask what it could show", () => {
  const changed = { color: "red", "--name": "'secret'", background: ["url(/secret.png)", "important"], top: false };
  assert.deepEqual(told(el("p"), "mask", { style: changed }).style, {
    color: "red", "--name": "", background: ['url("")', "important"], top: false,
  });
  assert.deepEqual(told(el("p"), "none", { style: { background: "url(/p.png?secret)" } }).style, {
    background: 'url("https://site.example/p.png")',
  });
});

test("rules deny attributes, and allow those that are longer than others; the value of a button is seen by nobody", () => {
  const under = (policy, attributes, tag = "p") => {
    const element = el(tag, attributes);
    const read = reader(page(element));
    return allowed(element, attributes, { privacy: new Privacy({ read, memory: new Memory(read), policy: { ...OPEN, ...policy } }) });
  };
  const long = "x".repeat(200);
  const found = { class: "c", title: "t", "data-a": long, "data-b": long, "data-ab": "short" };
  assert.deepEqual(under({}, found), { class: "c", title: "t", "data-ab": "short" });
  assert.deepEqual(under({ allow: ["data-a"], deny: ["title", "class"] }, found), { "data-a": long, "data-ab": "short" });
  assert.deepEqual(under({ allow: ["data-*"], deny: ["data-a*"] }, found), { class: "c", title: "t", "data-b": long });
  assert.deepEqual(under({ allow: ["data-a"], base: MASK }, found), { class: "c", title: "*" }, "where text is shown");
  assert.deepEqual(under({}, { value: "v" }, "button"), {});
});

test("on a private page the style of an element is its content, and that of the page is not", () => {
  const element = el("p", { style: "color: red; --x: 1; background: url(/me.png)" });
  const read = reader(page(element));
  const privacy = new Privacy({ read, memory: new Memory(read), policy: { ...OPEN, isPrivate: true } });
  const of = (found) => allowed(element, found, { privacy });
  assert.deepEqual(of(element.attributes), { style: 'color: red; --x:; background: url("")' });
  assert.deepEqual(of({ _cssText: "p { background: url(/a.png) }" }), { _cssText: 'p { background: url("https://site.example/a.png") }' });
});
