// What the recorder stands on, whatever a page has made of it. It is the library of others, and takes for granted that
// `form.attributes` are the form's attributes, and not its field of that name, and that `Array.from` is the language's own.
//
//   own(node, name)    node[name] as the browser has it: of a form or document, whose named elements hide their properties,
//                      and where a script has put something of its own into the prototypes
//   method(node, name) the same for methods, bound to the node
//   within(fun)        fun(), while what old libraries have changed of the language's own objects is set aside
//   guarded(fun)       the same; an error goes to `catchFaults`'s function instead of to the page
//   outside(fun)       fun() of the page, with all that it has changed, from within
//
// build.mjs has the recorder's library read nodes by `own`, and be called by `within`; the module that loads it is read
// within, too. What is true comes from a frame that is there for that moment only, and only if something was changed.

const LANGUAGE = ["Object", "Function", "Array", "String", "Number", "RegExp", "Map", "Set", "WeakMap", "WeakSet"];
const OTHERS = ["Node", "EventTarget"];
/** Node.nodeType -> whose prototypes a node has, the nearest first. */
const KINDS = {
  1: ["HTMLFormElement", "HTMLElement", "Element", ...OTHERS],
  9: ["Document", ...OTHERS],
  11: ["ShadowRoot", "DocumentFragment", ...OTHERS],
};
const NODES = [...new Set(Object.values(KINDS).flat())];
const NATIVE = /\{\s*\[native code\]\s*\}\s*$/;
const DOCUMENT = 9;

/** Properties that are set aside: {holder, key, page, clean}, descriptors; `clean` undefined: there is none. */
let changed = [];
/** Names of properties of nodes that scripts have changed. */
let changedNames = new Set();
/** Names -> what reads them of a node; filled as they are asked for. */
const readers = new Map();
/** What gets the errors of `guarded`. */
let faulted = () => {};
/** Whether `changed` is set aside now. */
let isAside = false;
/** The window of the frame that was there; null while none was needed. */
let pristine = null;

/** node[name], as the browser has it. */
export function own(node, name) {
  if (!isOverridden(node) && !(changedNames.has(name) && isNode(node))) return node[name];
  if (!readers.has(name)) readers.set(name, reader(name));
  return readers.get(name)(node);
}

/** The method node[name], bound to the node. */
export function method(node, name) {
  const found = own(node, name);
  if (typeof found !== "function") throw new TypeError(`${name} of ${Object.prototype.toString.call(node)} is no function`);
  return found.bind(node);
}

function isNode(node) {
  return typeof node?.nodeType === "number";
}

/** Whether elements may stand in the place of properties. A form whose `localName` is such an element is one as well. */
function isOverridden(node) {
  if (typeof node !== "object" || node === null) return false;
  const type = node.nodeType;
  if (type === undefined) return false;
  const tag = node.localName;
  return typeof type !== "number" || type === DOCUMENT || tag === "form" || (typeof tag === "object" && tag !== null);
}

function reader(name) {
  const ofKind = new Map();
  return (node) => {
    const kind = KINDS[typeOf(node)] ?? OTHERS;
    if (!ofKind.has(kind)) ofKind.set(kind, first(kind, name));
    const { get, value } = ofKind.get(kind) ?? { get: () => node[name] };
    return get ? get.call(node) : value;
  };
}

function first(kind, name) {
  for (const each of kind) {
    const property = truth(window[each]?.prototype, pristine?.[each]?.prototype, name);
    if (property) return property;
  }
  return undefined;
}

function typeOf(node) {
  return truth(Node.prototype, pristine?.Node.prototype, "nodeType").get.call(node);
}

/** The property as it was made. */
function truth(holder, clean, name) {
  const found = holder && Object.getOwnPropertyDescriptor(holder, name);
  return found && clean && !isNative(found) ? Object.getOwnPropertyDescriptor(clean, name) : found;
}

function isNative({ value, get, set }) {
  for (const each of [value, get, set]) {
    if (typeof each === "function" && !NATIVE.test(Function.prototype.toString.call(each))) return false;
  }
  return true;
}

/** See what was changed up to now. It stands on as little as it can: what it would use may have been changed. */
export function look() {
  if (isAside) return outside(look);
  const oddNames = new Set();
  const odd = [];
  for (const each of NODES) {
    if (window[each]) for (const name of oddKeys(window[each].prototype, false)) oddNames.add(name);
  }
  for (const each of LANGUAGE) {
    for (const key of oddKeys(window[each], true)) odd.push({ each, of: (realm) => realm[each], key });
    for (const key of oddKeys(window[each].prototype, true)) odd.push({ each, of: (realm) => realm[each].prototype, key });
  }
  if (oddNames.size || odd.length) pristine ??= fresh();
  changedNames = oddNames;
  readers.clear();
  changed = [];
  if (!pristine) return undefined;
  for (const { of, key } of odd) {
    const holder = of(window);
    changed.push({ holder, key, page: property(holder, key), clean: property(of(pristine), key) });
  }
  return undefined;
}

/** Keys of properties that are not as they were made. `andAdded`: also of those that were added, so that loops meet them. */
function oddKeys(holder, andAdded) {
  const found = [];
  for (const key of Reflect.ownKeys(holder)) {
    const { configurable, enumerable, ...value } = Object.getOwnPropertyDescriptor(holder, key);
    if (configurable && (!isNative(value) || (andAdded && enumerable))) found.push(key);
  }
  return found;
}

/** A descriptor that inherits nothing: what pages add to Object.prototype is no part of it. */
function property(holder, key) {
  const found = Object.getOwnPropertyDescriptor(holder, key);
  return found && { __proto__: null, ...found };
}

/** The window of a frame of our own, whose objects stay as they are after it has gone. */
function fresh() {
  const frame = document.createElement("iframe");
  const place = document.querySelector("site-connect")?.shadowRoot ?? document.documentElement;
  place.append(frame);
  const { contentWindow } = frame;
  const kept = {};
  if (contentWindow) for (const names of [LANGUAGE, NODES]) for (const name of names) kept[name] = contentWindow[name];
  frame.remove();
  return contentWindow ? kept : null;
}

export function within(fun) {
  return isAside ? fun() : switched(true, fun);
}

export function guarded(fun) {
  try {
    return within(fun);
  } catch (error) {
    faulted(error);
    return undefined;
  }
}

/** fun(error): what happens to errors of `guarded` from now on. */
export function catchFaults(fun) {
  faulted = fun;
}

export function outside(fun) {
  return isAside ? switched(false, fun) : fun();
}

function switched(aside, fun) {
  if (!changed.length) return fun();
  put(aside);
  try {
    return fun();
  } finally {
    put(!aside);
  }
}

function put(aside) {
  isAside = aside;
  const { defineProperty } = Object;
  for (const { holder, key, page, clean } of changed) {
    const wanted = aside ? clean : page;
    if (wanted) defineProperty(holder, key, wanted);
    else delete holder[key];
  }
}

look();
if (changed.length) {
  put(true); // while the recorder's modules are read, which follow this one
  queueMicrotask(() => put(false));
}
