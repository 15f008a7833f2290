// Fields that are secret by what stands beside them: a label, a placeholder, the text before them. Pure. It is asked while
// a page is recorded; what a field is by its own type, name and the like is remembered from the start (memory.js).
//
//   words   a password, a code, a card, in some languages
//   boxes   a field for a single character, as codes are typed into
//   early   a text field that the script found beside a password, in a part that is shown: it may have been one, too
//   unknown a text field of which nothing says what it is, in a part that is shown, if the script found it there, or a
//           password is there, too: it may be what the page shows instead of the password

import { MARKS } from "./marks.js";
import { NO_TEXT } from "./memory.js";

const FIELDS = new Set(["input", "textarea", "select"]);
const WORDS = new RegExp(
  [
    "pass ?(word|code|phrase)|passwor|kennwort|mot de passe|contrase|senha|wachtwoord|has[łl]o|parola|лозинка|пароль",
    "密码|密碼|パスワード|비밀번호|şifre|lösenord|salasana|adgangskode",
    "(^|[^a-z])(pin|tan|otp|totp|cvc2?|cvv2?|csc|2fa|mfa)([^a-z]|$)",
    "(security|verification|validation|authenti\\w*|authori[sz]ation|confirmation|access|sms|recovery|backup|digit|one.?time) ?(code|pass|pin|number)",
    "einmal(code|kennwort|passwort)|(sicherheits|bestätigungs|freischalt|prüf)(code|ziffer|nummer|zahl)|kartenprüf",
    "code (de|d.) ?(sécurité|vérification|confirmation|accès|validation)|cryptogramme|(código|codice) (de|di) ?(segur|verific|sicurezza|conf)",
    "(card|karten?|carte|tarjeta|cartão|carta)[^a-z]{0,3}.{0,12}(n[uú]m|n[ro°º]|code)|(n[uú]m|n[ro°º]).{0,12}(card|carte|tarjeta|cartão|carta)([^a-z]|$)",
    "kartennummer|expir(y|ation|es)|valid (thru|until)|gültig bis|ablaufdatum|caducidad|scadenza|(^|[^a-z])mm ?/ ?(yy|jj|aa)",
  ].join("|"),
  "i",
);
const NEAR = 60; // characters: what is longer is no label

export class Likely {
  constructor(read, memory) {
    Object.assign(this, { read, memory });
  }

  /** Whether a field is secret by what stands beside it. It stays so. */
  isSecret(field) {
    const { read, memory } = this;
    if (!FIELDS.has(read.tag(field)) || NO_TEXT.test(read.attribute(field, "type") ?? "")) return false;
    if (memory.early.has(field) && this.isBesidePassword(field)) return true;
    const words = this.words(field);
    const isBox = read.attribute(field, "maxlength")?.trim() === "1";
    const mayBe = memory.early.has(field) || this.isBesidePassword(field);
    const isUnknown = mayBe && !words && !this.isNamed(field);
    if (!isBox && !isUnknown && !WORDS.test(words || this.before(field))) return false;
    memory.keepSecret(field, false);
    return true;
  }

  /** Whether a part that is marked as shown holds this field, and held a password. */
  isBesidePassword(field) {
    const { read, memory } = this;
    for (let node = read.above(field); node; node = read.above(node)) {
      if (read.type(node) === 1 && read.has(node, MARKS[2]) && memory.around.has(node)) return true;
    }
    return false;
  }

  isNamed(field) {
    return ["name", "autocomplete", "list"].some((name) => this.read.attribute(field, name)?.trim());
  }

  /** What people read of a field itself. */
  words(field) {
    const { read } = this;
    const own = ["aria-label", "placeholder", "title"].map((name) => read.attribute(field, name));
    return [...own, ...read.labels(field)].filter(Boolean).join(" ").trim();
  }

  /** The text right before a field, or right before what it stands in, as a cell of a table. */
  before(field) {
    const { read } = this;
    for (let each = field, steps = 0; each && read.type(each) === 1 && steps < 2; each = read.above(each), steps += 1) {
      const text = read.before(each).trim();
      if (text) return text.length <= NEAR ? text : "";
    }
    return "";
  }
}
