// Reads what stands beside a field: labels, and the text before it. Like dom.js by accessors of the prototypes, since a form
// answers for its fields; but taken when the page is recorded.

const get = (owner, name) => Object.getOwnPropertyDescriptor(owner.prototype, name).get;
const textOf = get(Node, "textContent");
const previous = get(Node, "previousSibling");
const LABELS = {
  input: get(HTMLInputElement, "labels"),
  textarea: get(HTMLTextAreaElement, "labels"),
  select: get(HTMLSelectElement, "labels"),
};

export const beside = {
  /** The texts of a field's labels, and of what `aria-labelledby` names. */
  labels(field) {
    const root = Node.prototype.getRootNode.call(field);
    const named = Element.prototype.getAttribute.call(field, "aria-labelledby")?.split(/\s+/) ?? [];
    const all = [...(LABELS[field.localName]?.call(field) ?? []), ...named.map((id) => root.getElementById?.(id))];
    return all.flatMap((each) => (each ? [textOf.call(each)] : []));
  },
  /** The text right before an element, within what is around it. */
  before(element) {
    let text = "";
    for (let each = previous.call(element); each && !text.trim(); each = previous.call(each)) text = textOf.call(each) ?? "";
    return text;
  },
};
