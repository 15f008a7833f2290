// A part of the build: a library's code, with every read of a node's property in the form `own(node, "name")`, every call of
// its methods as `method(node, "name")(…)`, each call of its handlers in `within(…)`, and of its timers in `guarded(…)`: see
// src/page/clean.js. And it tells a frame's page once that is complete.
import { parse } from "acorn";
import { ancestor } from "acorn-walk";

const NAMES = new Set(`
  attributes childNodes nodeType nodeName tagName localName namespaceURI ELEMENT_NODE parentNode parentElement firstChild
  lastChild nextSibling previousSibling ownerDocument shadowRoot textContent getRootNode contains isConnected children id
  className classList style getAttribute setAttribute hasAttribute removeAttribute matches msMatchesSelector closest
  querySelector querySelectorAll getBoundingClientRect scrollLeft scrollTop addEventListener removeEventListener body head
  documentElement scrollingElement defaultView styleSheets adoptedStyleSheets fonts implementation createElement
`.trim().split(/\s+/));
const LATER = new Set(["setTimeout", "requestAnimationFrame"]);
const HANDLER = "return cb(...rest);";
/** The page of a `srcdoc` is there, and empty, by the next turn. Told then and again at its load, under one id, a replay
 *  keeps the first: so one that still loads is waited for, as those of other frames are. */
const FRAME = `setTimeout(listener, 0);
    return iframeEl.addEventListener("load", listener);`;
const WAITED_FOR = `return setTimeout(() => {
      const inner = iframeEl.contentDocument;
      if (inner && inner.readyState !== "complete") return onceIframeLoaded(iframeEl, listener, iframeLoadTimeout);
      listener();
      iframeEl.addEventListener("load", listener);
    }, 0);`;

/** Return the code; `clean`: the path of the module to import from. Throws if the library is not the one that is known. */
export function withOwnReads(library, clean) {
  const code = library.replace(FRAME, WAITED_FOR);
  const isKnown = code !== library && code.includes(HANDLER);
  const edits = [];
  const later = ({ callee, arguments: [fun] }) => {
    if (callee.type !== "Identifier" || !LATER.has(callee.name)) return;
    edits.push([fun.start, "(...all) => guarded(() => ("], [fun.end, ")(...all))"]);
  };
  ancestor(parse(code, { ecmaVersion: 2022, sourceType: "module" }), {
    CallExpression: later,
    MemberExpression(node, above) {
      if (node.computed || !NAMES.has(node.property.name) || isOfThis(node.object)) return;
      const parent = above.at(-2);
      if (parent.type === "AssignmentExpression" && parent.left === node) return;
      if (parent.type === "UpdateExpression" || (parent.type === "UnaryExpression" && parent.operator === "delete")) return;
      const isCall = parent.type === "CallExpression" && parent.callee === node;
      edits.push([node.start, isCall ? "method(" : "own("], [node.object.end, `, "${node.property.name}")`, node.end]);
    },
  });
  if (!isKnown || edits.length < 100) throw new Error("expected the recorder's library in a form that is known");
  const changed = apply(code, edits).replace(HANDLER, "return within(() => cb(...rest));");
  return `import { guarded, method, own, within } from ${JSON.stringify(clean)};\n${changed}`;
}

/** The library's own objects are no nodes. */
function isOfThis({ type, name }) {
  return type === "ThisExpression" || (type === "Identifier" && ["index", "sn", "serializedNode", "attributes"].includes(name));
}

/** Put texts into the code: [at, text], or [from, text, to] in the place of what is there. At one place the last comes first:
 *  what is around another was met after it. */
function apply(code, edits) {
  const sorted = edits.map((edit, order) => ({ edit, order }));
  sorted.sort((a, b) => a.edit[0] - b.edit[0] || b.order - a.order);
  let at = 0;
  let text = "";
  for (const { edit: [from, added, to = from] } of sorted) {
    text += code.slice(at, from) + added;
    at = Math.max(at, to);
  }
  return text + code.slice(at);
}
