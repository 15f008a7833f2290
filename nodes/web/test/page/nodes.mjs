// A page of plain objects, and a reader of it as page/dom.js is of a real one.

let count = 0;

function node(type, more) {
  count += 1;
  return { id: count, type, above: null, children: [], ...more };
}

function put(parent, children) {
  for (const each of children) {
    const child = typeof each === "string" ? node(3, { text: each }) : each;
    child.above = parent;
    parent.children.push(child);
  }
  return parent;
}

/** An element, with children; a text stands for a text node. */
export const el = (tag, attributes = {}, ...children) => put(node(1, { tag, attributes }), children);

/** A shadow root put into `host`, or a document put into a frame. */
export const shadow = (host, ...children) => Object.assign(put(node(11), children), { above: host });
export const inner = (frame, ...children) => Object.assign(put(node(9, { url: "about:srcdoc" }), children), { above: frame });

/** The page itself. */
export const page = (...children) => put(node(9, { url: "https://site.example/shop/find" }), children);

/** Whether an element fits a list of tags, #ids, .classes and [attributes]. */
function fits({ tag, attributes }, selector) {
  return selector.split(",").some((each) => {
    const [, kind, name] = /^\s*([#.[]?)([\w-]+)\]?\s*$/.exec(each);
    if (kind === "[") return name in attributes;
    if (kind === "#") return attributes.id === name;
    return kind === "." ? (attributes.class ?? "").split(" ").includes(name) : tag === name;
  });
}

const below = (it) => it.children.flatMap((child) => [child, ...below(child)]);

export function reader(top) {
  const document = (it) => (it.type === 9 || !it.above ? it : document(it.above));
  return {
    top,
    type: (it) => it.type,
    tag: (it) => it.tag ?? null,
    above: (it) => it.above,
    slot: (it) => it.slot ?? null,
    has: (it, name) => name in it.attributes,
    attribute: (it, name) => it.attributes[name] ?? null,
    children: (it) => it.children,
    matches: fits,
    all: (it, selector) => below(it).filter((each) => each.type === 1 && fits(each, selector)),
    isConnected: (it) => it === top || (it.above !== null && document(it) === top),
    value: (it) => it.value ?? it.attributes.value ?? "",
    labels: (it) => it.labels ?? [],
    before: (it) => it.before ?? "",
    chosen: (it) => it.children.filter(({ attributes }) => "selected" in attributes),
    isDesigned: (it) => it.designMode === "on",
    hasEditContext: (it) => Boolean(it.editContext),
    base: (it) => document(it).base ?? document(it).url,
    address: (it) => document(it).url,
    size: () => [30, 20],
  };
}
