// What a page may write, and what is left of it before it is rebuilt on an agent's screen.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Cleaner, LIMITS } from "../../src/console/safe.js";

let last = 10;
const element = (tagName, attributes = {}, ...childNodes) => ({ type: 2, id: (last += 1), tagName, attributes, childNodes });
const text = (textContent, more = {}) => ({ type: 3, id: (last += 1), textContent, ...more });
const page = (...body) => ({
  type: 2,
  data: { node: { type: 0, id: 1, childNodes: [element("html", {}, element("body", {}, ...body))] }, initialOffset: {} },
});
const mutation = (more) => ({ type: 3, data: { source: 0, adds: [], removes: [], texts: [], attributes: [], ...more } });

/** The body's children after cleaning a snapshot. */
function cleaned(...body) {
  const [event] = new Cleaner().clean([page(...body)]);
  return event.data.node.childNodes[0].childNodes[0].childNodes;
}

/** The attributes that are left of an element, in a snapshot and in what is added. */
function left(tagName, attributes) {
  const [first] = cleaned(element(tagName, { ...attributes }));
  const [event] = new Cleaner().clean([mutation({ adds: [{ parentId: 1, node: element(tagName, { ...attributes }) }] })]);
  assert.deepEqual(event.data.adds[0].node.attributes, first.attributes, "in changes as in snapshots");
  assert.equal(event.data.adds[0].node.tagName, first.tagName);
  return first;
}

test("what runs is taken out, however it is written", () => {
  for (const name of ["onclick", "onerror", "ONLOAD", "onFocusIn", "onbeforetoggle", "on", "x:onload", " onclick", "srcdoc", "SrcDoc", "autofocus",
    "http-equiv", "formaction", "action", "target", "ping", "manifest", "nonce", "autoplay", "xml:base", "referrerpolicy", "data"]) {
    assert.deepEqual(left("div", { [name]: "x", class: "a" }).attributes, { class: "a" }, name);
  }
  const scripts = ["javascript:alert(1)", "JavaScript:x", " java\nscript:x", "\u0001javascript:x", "java\tscript:x", "vbscript:x",
    "data:text/html,<script>", "data:application/xhtml+xml,x", "DATA:TEXT/HTML,x", "file:///etc/passwd", "ms-help:x", "view-source:x", "chrome:x"];
  for (const address of scripts) {
    for (const name of ["src", "href", "xlink:href", "poster", "background", "cite"]) {
      assert.deepEqual(left("img", { [name]: address }).attributes, {}, `${name}=${address}`);
    }
    assert.deepEqual(left("a", { href: address }).attributes, { href: "#" }, "it looks like a link");
  }
  assert.deepEqual(left("animate", { attributeName: "href", values: "#a;javascript:x" }).attributes, {});
  assert.deepEqual(left("set", { attributename: "xlink:HREF", to: "javascript:x" }).attributes, {});
  assert.deepEqual(left("animate", { attributeName: "x", from: "0", to: "javascript:x" }).attributes, { attributeName: "x", from: "0" });
});

test("what a page is made of stays", () => {
  const kept = { class: "a b", style: "color: red", title: "On: javascript is a word", "data-a": "1", "aria-label": "x", "[ng]": "1",
    src: "https://shop.example.org/a.png", srcset: "a.png 1x, b.png 2x", alt: "", width: "10", rr_width: "10px", xmlns: "http://www.w3.org/1999/xhtml" };
  assert.deepEqual(left("img", kept).attributes, kept);
  for (const href of ["#a", "/b", "c?d=e:f", "//shop.example.org", "http://a.example/", "mailto:a@example.org", "tel:1", "blob:x", "data:image/png;base64,AA"]) {
    assert.deepEqual(left("a", { href }).attributes, { href }, href);
  }
  assert.deepEqual(left("img", { rr_dataURL: "data:image/png;base64,AA" }).attributes, { rr_dataURL: "data:image/png;base64,AA" });
  assert.deepEqual(left("img", { rr_dataURL: "https://evil.example/a.png", rr_unknown: "x" }).attributes, {});
  const [node] = cleaned(text("<script>alert(1)</script>"));
  assert.equal(node.textContent, "<script>alert(1)</script>", "text is text");
});

test("elements that run, embed or lead elsewhere become some that do not", () => {
  for (const tag of ["object", "embed", "applet", "portal", "fencedframe", "frame", "frameset", "OBJECT"]) {
    const { tagName, attributes } = left(tag, { data: "x.swf", src: "javascript:x", class: "a" });
    assert.deepEqual([tagName, attributes], ["div", { class: "a" }], tag);
  }
  for (const [tag, attributes] of [["base", { href: "https://evil.example/" }], ["meta", { "http-equiv": "refresh", content: "0;url=x" }],
    ["meta", { name: "referrer", content: "unsafe-url" }], ["param", { name: "movie", value: "x" }], ["META", { "HTTP-EQUIV": "refresh" }]]) {
    const node = left(tag, attributes);
    assert.deepEqual([node.tagName, node.attributes], ["meta", {}], tag);
  }
  const [script] = cleaned(element("SCRIPT", { src: "x.js", type: "module" }, text("alert(1)")));
  assert.deepEqual([script.tagName, script.attributes, script.childNodes], ["script", {}, []], "the library makes a noscript of it");
  assert.deepEqual(left("iframe", { src: "/frame.html", srcdoc: "x", name: "top", allow: "camera", sandbox: "allow-scripts", class: "a" }).attributes, { class: "a" });
  assert.deepEqual(left("meta", { name: "viewport", content: "width=device-width" }).attributes, { name: "viewport", content: "width=device-width" });
  assert.equal(left("bad name", {}).tagName, "div");
  assert.equal(left("my-menu", {}).tagName, "my-menu");
});

test("of links style sheets stay, and say nothing else", () => {
  const sheet = { rel: "stylesheet", href: "https://shop.example.org/a.css", media: "print" };
  assert.deepEqual(left("link", { ...sheet, onload: "x", crossorigin: "", as: "script" }).attributes, sheet);
  assert.deepEqual(left("link", { ...sheet, rel: "preload StyleSheet modulepreload" }).attributes, sheet);
  assert.deepEqual(left("link", { _cssText: "a{}", rel: "stylesheet", href: "x" }).attributes, { _cssText: "a{}" });
  for (const rel of ["prefetch", "preconnect", "dns-prefetch", "preload", "modulepreload", "manifest", "icon", "import", "prerender", "", undefined]) {
    const node = left("link", { rel, href: "https://evil.example/" });
    assert.deepEqual([node.tagName, node.attributes], ["meta", {}], rel);
  }
  assert.deepEqual(left("link", { rel: "stylesheet", href: "javascript:x" }).attributes, {});
});

test("changes of attributes are judged by what the element has been", () => {
  const [link, frame, meta] = [element("link", { rel: "stylesheet", href: "a.css" }), element("iframe"), element("meta", { name: "viewport", content: "x" })];
  const cleaner = new Cleaner();
  cleaner.clean([page(link, frame, meta)]);
  const changed = (id, attributes) => cleaner.clean([mutation({ attributes: [{ id, attributes }] })])[0].data.attributes[0].attributes;
  assert.deepEqual(changed(link.id, { rel: "preconnect", href: "https://a.example/b.css", media: "all" }), { href: "https://a.example/b.css", media: "all" });
  assert.deepEqual(changed(link.id, { href: "javascript:x" }), {});
  assert.deepEqual(changed(frame.id, { src: "/frame.html", srcdoc: "x", class: "b" }), { class: "b" });
  assert.deepEqual(changed(meta.id, { "http-equiv": "refresh", content: "0" }), {});
  assert.deepEqual(changed(99, { onclick: "x", href: "javascript:x", attributeName: "href", class: null, style: { color: "red", top: false, left: ["0", "important"] } }),
    { class: null, style: { color: "red", top: false, left: ["0", "important"] } });
  assert.deepEqual(changed(99, { style: { color: { toString: 1 } }, title: {}, alt: ["x"] }), {});
  // An id that is used again, for an element that is never built, does not make the frame an ordinary element.
  cleaner.clean([mutation({ adds: [{ parentId: 12345, node: { ...element("div"), id: frame.id } }] })]);
  assert.deepEqual(changed(frame.id, { src: "/frame.html" }), {});
});

test("events that could draw, play, load fonts or speak to plugins are dropped, and such as are none", () => {
  const dropped = [null, 1, "x", [], {}, { type: 3 }, { type: 3, data: null }, { type: 2, data: {} }, { type: 2, data: { node: { type: 2, id: 1 } } },
    ...[7, 9, 10, 11, 17, "0", undefined].map((source) => ({ type: 3, data: { source } })), ...[0, 1, 5, 6, 7, 8].map((type) => ({ type, data: {} }))];
  assert.deepEqual(new Cleaner().clean(dropped), []);
  const [event] = new Cleaner().clean([mutation({ adds: [null, { node: null }, { node: { type: 9, id: 1 } }], texts: [{ id: 1, value: {} }], removes: [1] })]);
  assert.deepEqual([event.data.adds, event.data.texts, event.data.removes], [[], [], []]);
  const [meta] = new Cleaner().clean([{ type: 4, data: { href: {}, width: 1e9, height: -1 } }]);
  assert.deepEqual(meta.data, { href: "", width: 20_000, height: 1 });
});

test("more than can be built is left out, and said", () => {
  const most = new Cleaner({ nodes: 10, depth: 5, cssChars: 20 });
  const [event] = most.clean([page(...Array.from({ length: 50 }, () => text("x")))]);
  assert.equal(event.data.node.childNodes[0].childNodes[0].childNodes.length, 8, "with html and body");
  assert.equal(most.isCut, true);
  assert.deepEqual(most.clean([mutation({ adds: [{ parentId: 1, node: element("p") }] })])[0].data.adds, []);

  let deep = text("x");
  for (let level = 0; level < 5_000; level += 1) deep = element("div", {}, deep);
  const cleaner = new Cleaner();
  cleaner.clean([page(deep)]);
  assert.equal(cleaner.isCut, true);
  assert.equal(cleaner.nodes < LIMITS.depth, true);

  const style = new Cleaner({ ...LIMITS, cssChars: 20 });
  style.clean([page(element("style", { _cssText: "a{color:red}" }), element("style", {}, text("b{color:red}", { isStyle: true })))]);
  assert.equal(style.isCut, true);
  const small = new Cleaner();
  small.clean([page(element("p", {}, text("x")))]);
  assert.equal(small.isCut, false);
});
