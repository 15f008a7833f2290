// What the recorder alone reads of the DOM, besides what dom.js does: by accessors of the prototypes, too, since a form
// answers for its fields; but taken when the recorder is loaded, so that a page which nobody views loads none of it.

function getter(owner, name) {
  const { get } = Object.getOwnPropertyDescriptor(owner.prototype, name) ?? {};
  return (node) => {
    try {
      return get?.call(node) ?? null;
    } catch {
      return null; // of another kind than `owner`, or of another origin
    }
  };
}

const FIELDS = { input: HTMLInputElement, textarea: HTMLTextAreaElement, select: HTMLSelectElement };
const each = (name) => Object.fromEntries(Object.entries(FIELDS).map(([tag, owner]) => [tag, getter(owner, name)]));
const values = each("value");
const labels = each("labels");
const chosen = getter(HTMLSelectElement, "selectedOptions");
const slotOfElement = getter(Element, "assignedSlot");
const slotOfText = getter(Text, "assignedSlot");
const textOf = getter(Node, "textContent");
const previous = getter(Node, "previousSibling");
const baseURI = getter(Node, "baseURI");
const ownerDocument = getter(Node, "ownerDocument");
const documentURI = getter(Document, "URL");
const { getBoundingClientRect } = Element.prototype;
const { getRootNode } = Node.prototype;

/** Return `dom` of dom.js with what the recorder reads. None of these throws for a node, but `size`. */
export const readerOf = (dom) => ({
  ...dom,
  /** The slot in which a component shows this node, or null: marks around the slot hold for the node, too. */
  slot: (node) => (dom.type(node) === 1 ? slotOfElement(node) : slotOfText(node)),
  children: getter(Node, "childNodes"),
  /** What a field holds now, as text. */
  value: (element) => values[dom.tag(element)]?.(element) ?? "",
  /** The options that are chosen in a list. */
  chosen: (element) => chosen(element) ?? [],
  /** The address that addresses in this node's document are relative to. */
  base: (node) => baseURI(node) ?? document.baseURI,
  /** The address of this node's document. */
  address: (node) => documentURI(ownerDocument(node) ?? node) ?? document.URL,
  /** Width and height on the screen, in pixels. */
  size(element) {
    const { width, height } = getBoundingClientRect.call(element);
    return [width, height];
  },
  /** Whether the browser takes a text for a selector. */
  isSelector(text) {
    try {
      dom.matches(document.documentElement, text);
      return true;
    } catch {
      return false;
    }
  },
  /** The texts of a field's labels, and of what `aria-labelledby` names. */
  labels(field) {
    const root = getRootNode.call(field);
    const named = dom.attribute(field, "aria-labelledby")?.split(/\s+/) ?? [];
    const all = [...(labels[dom.tag(field)]?.(field) ?? []), ...named.map((id) => root.getElementById?.(id))];
    return all.flatMap((it) => (it ? [textOf(it)] : []));
  },
  /** The text right before an element, within what is around it. */
  before(element) {
    let text = "";
    for (let it = previous(element); it && !text.trim(); it = previous(it)) text = textOf(it) ?? "";
    return text;
  },
});
