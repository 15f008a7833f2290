// What was ever typed into, and what was ever secret: it stays so for the life of the page, whatever becomes of the
// element. Pure: it reads nodes through `read` (dom.js, or a test's own).
//
//   secret   a password, a card field, a one-time code; masked also where the page has marked it as shown
//   typed    an editor: contenteditable, a text box by role, a document in design mode; masked unless marked as shown
//
// A page may put another element in the place of a field. So the name and the id are remembered as well: a field of the
// same name, and any element of the same id, are what it was. So is the place that a password has left: the fields that
// come there next are secret, but those whose name or id was an open field's before. A password may have been made visible
// before the script was there, too: likely.js judges the text fields that it found.

const FIELDS = new Set(["input", "textarea", "select"]);
const SECRET_TYPE = /^\s*password\s*$/i;
const SECRET_TOKENS = /(^|\s)(cc-\S*|\S*password|one-time-code)(\s|$)/i; // of `autocomplete`
const SECRET_NAME = // of `name` and `id`, in small letters with - between words
  /(^|-)(cvc2?|cvv2?|csc|t?otp|pin|tan|mfa|2fa|pwd|pass|pass(w(or)?d?|wort|code|phrase)|kennwort|(card|cc)-?(number|num|no|exp\w*)|exp(iry|iration)?-?(date|month|year)|(one-?time|security|verification|auth|sms)-?code)(-|$)/;
const SHOW_MARK = "data-site-connect-show";
export const NO_TEXT = /^\s*(submit|button|reset|image|checkbox|radio|hidden|file|range|color)\s*$/i; // types of inputs
const TEXT_ROLES = /^\s*(textbox|searchbox)\s*$/i;

/** Attributes by which an element becomes what is remembered: what watches the page looks at changes of these. */
export const TELLING = ["type", "autocomplete", "name", "id", "contenteditable", "role"];

export class Memory {
  constructor(read) {
    this.read = read;
    /** Elements that are or were secret. It only grows, as do all of these; `learn` and `was` change them. */
    this.secrets = new WeakSet();
    /** Names and ids of those. */
    this.secretNames = new Set();
    this.secretIds = new Set();
    /** Fields that were of type text when the script found them; `found` alone adds to it. */
    this.early = new WeakSet();
    /** All that is around a password. */
    this.around = new WeakSet();
    /** Passwords; and elements and roots out of which one was taken, until fields have come there. */
    this.passwords = new WeakSet();
    this.places = new WeakSet();
    /** Names and ids of fields that were no secrets. */
    this.openNames = new Set();
    /** Hosts of shadow roots that nobody can look into. */
    this.closed = new WeakSet();
    /** Elements and documents that are or were editors. */
    this.editors = new WeakSet();
    /** Ids of those. */
    this.editorIds = new Set();
  }

  /** Look at an element or document as it is now; true if something about it is new. */
  learn(node) {
    if (this.read.type(node) === 9) return this.read.isDesigned(node) && this.keep(this.editors, node);
    let fresh = false;
    if (this.looksSecret(node)) fresh = this.keepSecret(node, SECRET_TYPE.test(this.read.attribute(node, "type") ?? ""));
    if (this.looksEditable(node)) fresh = this.keepEditor(node) || fresh;
    return fresh;
  }

  /** A field was there, and was no secret: its names are known for that. */
  open(field) {
    if (this.isSecret(field)) return;
    for (const name of ["name", "id"]) if (this.read.attribute(field, name)) this.openNames.add(this.read.attribute(field, name));
  }

  /** An attribute of `element` was `old` (null: absent) before it changed; true if something about it is new. */
  was(element, name, old) {
    if (old === null || old === "") return this.learn(element);
    const { read } = this;
    let fresh = this.learn(element);
    const isField = FIELDS.has(read.tag(element));
    if (isField && isSecretAttribute(name, old)) fresh = this.keepSecret(element, name === "type") || fresh;
    if (isEditorAttribute(name, old)) fresh = this.keepEditor(element) || fresh;
    return fresh;
  }

  /** An element was taken out of `place`; `fields` are the inputs in it. */
  lost(place, fields) {
    if (fields.some((each) => this.passwords.has(each))) this.places.add(place);
  }

  /** These inputs have come; true if one has come in the place of a password. */
  came(fields) {
    const met = new Set();
    for (const field of fields) {
      let place = this.read.above(field);
      while (place && !this.places.has(place)) place = this.read.above(place);
      if (!place || NO_TEXT.test(this.read.attribute(field, "type") ?? "") || this.passwords.has(field)) continue;
      met.add(place);
      const names = ["name", "id"].map((name) => this.read.attribute(field, name));
      if (!names.some((name) => name && this.openNames.has(name))) this.keepSecret(field, true);
    }
    for (const place of met) this.places.delete(place);
    return met.size > 0;
  }

  /** An element was there before the script: nobody saw what became of it. */
  found(element) {
    const { read } = this;
    if (read.tag(element) !== "input" || read.attribute(element, "type")?.toLowerCase() !== "text") return;
    if (!read.has(element, SHOW_MARK)) this.early.add(element);
  }

  /** Whether what is in this element is never told. */
  isSecret(element) {
    this.learn(element);
    const { read } = this;
    const id = read.attribute(element, "id");
    if (this.secrets.has(element) || (id && this.secretIds.has(id))) return true;
    if (!FIELDS.has(read.tag(element))) return false;
    const name = read.attribute(element, "name");
    return Boolean(name) && this.secretNames.has(name);
  }

  /** Whether people type, or typed, into this element or document as a whole. */
  isEditor(node) {
    this.learn(node);
    if (this.editors.has(node)) return true;
    const id = this.read.type(node) === 1 && this.read.attribute(node, "id");
    return Boolean(id) && this.editorIds.has(id);
  }

  looksSecret(element) {
    const { read } = this;
    if (!FIELDS.has(read.tag(element))) return false;
    return ["type", "autocomplete", "name", "id"].some((name) => {
      const value = read.attribute(element, name);
      return value !== null && isSecretAttribute(name, value);
    });
  }

  looksEditable(element) {
    const { read } = this;
    if (read.hasEditContext(element)) return true;
    return ["contenteditable", "role"].some((name) => {
      const value = read.attribute(element, name);
      return value !== null && isEditorAttribute(name, value);
    });
  }

  keepSecret(element, isPassword) {
    const { read } = this;
    const [id, name] = [read.attribute(element, "id"), read.attribute(element, "name")];
    if (id) this.secretIds.add(id);
    if (name) this.secretNames.add(name);
    const fresh = this.keep(this.secrets, element);
    if (!isPassword || !this.keep(this.passwords, element)) return fresh;
    for (let node = read.above(element); node; node = read.above(node)) this.around.add(node);
    return true;
  }

  keepEditor(element) {
    const id = this.read.attribute(element, "id");
    if (id) this.editorIds.add(id);
    return this.keep(this.editors, element);
  }

  keep(set, node) {
    if (set.has(node)) return false;
    set.add(node);
    return true;
  }
}

function isSecretAttribute(name, value) {
  if (name === "type") return SECRET_TYPE.test(value);
  if (name === "autocomplete") return SECRET_TOKENS.test(value);
  return (name === "name" || name === "id") && SECRET_NAME.test(words(value));
}

/** "newPassword", "new_password" and "user[new-password]" hold the same words. */
function words(name) {
  const split = name.replace(/([a-z0-9])([A-Z])/g, "$1-$2");
  return split.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

function isEditorAttribute(name, value) {
  if (name === "contenteditable") return value.trim().toLowerCase() !== "false";
  return name === "role" && TEXT_ROLES.test(value);
}
