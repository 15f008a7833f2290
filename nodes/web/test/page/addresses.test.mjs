// Addresses lose queries and hashes; links within the page keep their place; style text loses both, and what it would show.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ofFile, ofLink, ofPage, ofSet, ofStyle, prefixes } from "../../src/page/addresses.js";

const HERE = "https://site.example/shop/find?email=secret#secret=1";

test("the address of the page is its site, and its path where the page allows it", () => {
  assert.equal(ofPage(HERE, false), "https://site.example/…");
  assert.equal(ofPage(HERE, true), "https://site.example/shop/find");
  assert.equal(ofPage("https://user:secret@site.example/?secret", false), "https://site.example/");
  assert.equal(ofPage("data:text/html,secret", true), "about:blank");
  assert.equal(ofPage("no address", true), "about:blank");
});

test("links within the page keep their hash, others lose query, hash and user", () => {
  const cases = {
    "#place": "#place", "https://site.example/shop/find?email=secret#place": "#place", "": "#", "?again=secret": "#",
    "#token=secret": "#", "#/secret/path": "#", "/other?secret#secret": "https://site.example/other",
    "https://user:secret@else.example/x?secret": "https://else.example/x",
    "javascript:secret()": "#", "mailto:secret@x.example": "#", "blob:https://site.example/secret": "#", "http://[": "#",
  };
  for (const [from, to] of Object.entries(cases)) assert.equal(ofLink(from, HERE, HERE), to, from);
  assert.equal(ofLink("", "https://site.example/base/", HERE), "https://site.example/base/", "with a base element");
  assert.equal(ofLink(HERE, "https://site.example/base/", HERE), "#");
});

test("pictures lose their query, but below the addresses that the page allows", () => {
  const queries = prefixes(["https://cdn.example", "nonsense", "https://site.example/_image"]);
  assert.deepEqual(queries, ["https://cdn.example/", "https://site.example/_image"]);
  const cases = {
    "/p.png?secret": "https://site.example/p.png", "/_image?w=3": "https://site.example/_image?w=3",
    "https://cdn.example/a?b#c": "https://cdn.example/a?b", "https://cdn.example.evil/a?secret": "https://cdn.example.evil/a",
    "/shapes.svg#cart": "https://site.example/shapes.svg#cart", "/shapes.png#cart": "https://site.example/shapes.png",
    "data:image/png;base64,AAAA": "data:image/png;base64,AAAA", "data:text/html,secret": "", "blob:secret": "", "#cart": "#cart",
  };
  for (const [from, to] of Object.entries(cases)) assert.equal(ofFile(from, HERE, queries), to, from);
  assert.equal(ofSet("/a.png?secret 1x, /b.png?secret 20w, blob:x 3x", HERE), "https://site.example/a.png 1x, https://site.example/b.png 20w");
});

test("style text keeps its looks", () => {
  const icon = ".x::before { content: '\\f101'; color: red } .y { background: url(data:image/png;base64,AA==) no-repeat }";
  assert.equal(ofStyle(icon, HERE), icon);
  const cases = {
    "url(/p.png?secret)": 'url("https://site.example/p.png")', "url('p.png?secret')": 'url("https://site.example/shop/p.png")',
    'url( "/a(b).png?secret" )': 'url("https://site.example/a(b).png")', "url(#shape)": "url(#shape)",
    '@import "/s.css?secret";': '@import "https://site.example/s.css";',
  };
  for (const [from, to] of Object.entries(cases)) assert.equal(ofStyle(from, HERE), to, from);
});

test("masked style text shows no text and names no address", () => {
  const told = (text, more) => ofStyle(text, HERE, { isMasked: true, ...more });
  assert.equal(told(".x::after { content: 'a; secret' }"), '.x::after { content: "*********" }');
  assert.equal(told(".x { --name: \"secret\"; color: red }"), ".x { --name:; color: red }");
  assert.equal(told(".x[data-x='secret'] { quotes: 'secret' 'b' } /* secret */"), ".x[data-x=\"\"] { quotes: \"******\" 'b' } ");
  assert.equal(told("@counter-style s { symbols: 'secret' }"), "@counter-style s { symbols: \"******\" }");
  assert.equal(told("background: image-set('/secret.png' 1x)"), 'background: image-set("" 1x)');
  assert.equal(told("--sum: 1234; color: red", { isInline: true }), "--sum:; color: red");
  assert.equal(told("color: red; -\\-x: secret; c\\6f: 'a; b'; top: 0", { isInline: true }), "color: red; top: 0");
  assert.equal(told("@property --p { initial-value: 'secret' }"), "@property --p { initial-value:}");
  assert.equal(told("background: url(/secret.png)"), 'background: url("")');
  assert.equal(told("justify-content: 'x'; font-family: 'Open Sans'"), "justify-content: 'x'; font-family: 'Open Sans'");
  assert.equal(told(".x::before { content: '\\e001' }"), ".x::before { content: '\\e001' }");
  const images = ofStyle("a { background: image-set('/a.png?secret' type('image/png') 1x, url(b.png?secret) 2x) }", HERE);
  assert.equal(
    images,
    'a { background: image-set("https://site.example/a.png"  1x, url("https://site.example/shop/b.png") 2x) }',
  );
  const hidden = ofStyle("a { content: 'secret'; background: url(/p.png) }", HERE, { hidesText: true });
  assert.equal(hidden, "a { content: \"******\"; background: url(\"https://site.example/p.png\") }");
});
