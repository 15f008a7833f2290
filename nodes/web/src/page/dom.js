// Reads the DOM by accessors that are taken when this is loaded, before the page's own scripts could change them. A
// form answers `form.parentNode` with its field of that name: what is read here is asked of the prototypes, and is true.
// Nodes of inner pages of the same origin are read by the same accessors. None of these throws for a node.

const SHADOW = 11;

function getter(owner, name) {
  const get = Object.getOwnPropertyDescriptor(owner?.prototype ?? owner ?? {}, name)?.get;
  return (node) => {
    try {
      return get?.call(node) ?? null;
    } catch {
      return null; // of another kind than `owner`, or of another origin
    }
  };
}

const { getAttribute, hasAttribute, matches, querySelectorAll } = Element.prototype;
const searchDocument = Document.prototype.querySelectorAll;
const searchFragment = DocumentFragment.prototype.querySelectorAll;

const nodeType = getter(Node, "nodeType");
const parentNode = getter(Node, "parentNode");
const defaultView = getter(Document, "defaultView");
const frameElement = getter(window, "frameElement");

export const dom = {
  /** The document in which all of this runs: nothing is above it. */
  top: document,
  /** 1 for an element, 3 for text, 9 for a document, 11 for a shadow root, as in Node.nodeType. */
  type: nodeType,
  /** The name of an element, in small letters for HTML. */
  tag: getter(Element, "localName"),
  /** What is above: the parent; the host of a shadow root; the frame that holds a document; null if nothing is. */
  above(node) {
    const type = nodeType(node);
    if (type === 9) return frameElement(defaultView(node));
    return parentNode(node) ?? (type === SHADOW ? dom.host(node) : null);
  },
  host: getter(ShadowRoot, "host"),
  has: (element, name) => hasAttribute.call(element, name),
  attribute: (element, name) => getAttribute.call(element, name),
  matches: (element, selector) => matches.call(element, selector),
  isConnected: getter(Node, "isConnected"),
  /** The window of a document. */
  view: (node) => defaultView(node),
  /** The inputs in an element or text that may have been taken out of the page, itself included. */
  inputs(node) {
    if (nodeType(node) !== 1) return [];
    return [...(dom.tag(node) === "input" ? [node] : []), ...querySelectorAll.call(node, "input")];
  },
  /** Whether a document is an editor as a whole. */
  isDesigned: (node) => designMode(node) === "on",
  /** Whether a script has made an element an editor by the EditContext API. */
  hasEditContext: (element) => editContext(element) !== null,
  /** The shadow root that scripts may reach, or null. */
  shadow: getter(Element, "shadowRoot"),
  /** The document of a frame, if it is of this origin; null for another element. */
  inner: (element) => INNER[dom.tag(element)]?.(element) ?? null,
  /** All elements in a document, a shadow root or an element, or those that a selector names. */
  all(root, selector = "*") {
    const type = nodeType(root);
    const search = type === 9 ? searchDocument : type === SHADOW ? searchFragment : querySelectorAll;
    return search.call(root, selector);
  },
};

const designMode = getter(Document, "designMode");
const editContext = getter(HTMLElement, "editContext");
const INNER = {
  iframe: getter(HTMLIFrameElement, "contentDocument"),
  frame: getter(window.HTMLFrameElement, "contentDocument"),
  object: getter(HTMLObjectElement, "contentDocument"),
};
