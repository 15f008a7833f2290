// Which attributes may leave the page, and as what. Pure. Default: an attribute that nothing here names is told only
// where text is shown, and only when it is short, as what style sheets select by is.
//
//   how it looks     class, size, state and the like: always, within what is masked too
//   addresses        without queries (addresses.js); not at all within what is masked
//   text             title, alt, placeholder, aria-…: where the verdict is shown; masked words else
//   never            srcdoc, handlers, names of fields, what a meta element says, what is named like a token

import { ofFile, ofLink, ofSet, ofStyle } from "./addresses.js";
import { lists } from "./policy.js";
import { SHOWN, inputType, mask, maskWords } from "./privacy.js";

const set = (words) => new Set(words.trim().split(/\s+/));
const LOOK = set(`
  class id role type for dir lang slot part exportparts is hidden inert popover open disabled readonly required multiple
  width height size rows cols colspan rowspan span scope align valign bgcolor color face border cellpadding cellspacing
  rules frame nowrap hspace vspace clear compact start reversed wrap tabindex maxlength sizes media rel charset controls
  loop muted contenteditable translate xmlns xmlns:xlink version d x y x1 y1 x2 y2 cx cy r rx ry dx dy points viewbox
  preserveaspectratio transform fill fill-opacity fill-rule stroke stroke-width stroke-linecap stroke-linejoin
  stroke-dasharray stroke-dashoffset stroke-miterlimit stroke-opacity opacity clip-path clip-rule mask filter offset
  stop-color stop-opacity gradientunits gradienttransform patternunits patterntransform spreadmethod fx fy pathlength
  text-anchor dominant-baseline alignment-baseline font-size font-family font-weight letter-spacing vector-effect
  visibility display overflow site-connect-open marker-start marker-mid marker-end refx refy markerwidth markerheight orient
`);
const STATE = /^aria-(hidden|expanded|disabled|invalid|required|readonly|busy|modal|orientation)$/;
const RECORDED = set(`
  rr_width rr_height rr_scrollLeft rr_scrollTop rr_open_mode rr_mediaState rr_mediaCurrentTime rr_mediaPlaybackRate
  rr_mediaMuted rr_mediaLoop rr_mediaVolume
`);
const TEXT = set("title alt placeholder label summary abbr aria-label aria-description aria-placeholder aria-valuetext");
const FILES = set("src poster background rr_src");
const LINKS = set("href xlink:href");
const STYLED = set("style _cssText");
const CHOICES = set("value selected checked");
const NEVER = set(`
  srcdoc nonce integrity name action formaction ping content http-equiv autofocus autocomplete data list form cite
  download manifest archive code codebase longdesc usemap pattern itemprop itemid content-type property
`);
const NEVER_NAMED = /^on|token|csrf|xsrf|secret|passw|session|api-?_?key|auth(?!or)/i;
const NAME = /^[\w:@.-]{1,64}$/;
const LONGEST = 100; // of an attribute that is not known: what style selects by is short, what is long is a page's state
const UNSEEN = set("link script style base head title noscript template source");
const META = set("viewport color-scheme");

/** Return the attributes of `node` that may leave, from those that the recorder `found`: name -> value, null if removed. */
export function allowed(node, found, { privacy }) {
  const { read } = privacy;
  const { queries, deny, allow } = privacy.policyAt(node);
  const tag = read.tag(node);
  if (tag === "meta") return ofMeta(read, node, found);
  if (tag === "input" && inputType(read, node) === "hidden") return { type: "hidden" };
  const about = {
    node,
    tag,
    privacy,
    queries,
    allow,
    verdict: privacy.verdict(node),
    style: privacy.style(node),
    base: read.base(node),
  };
  const told = {};
  for (const [name, value] of Object.entries(found)) {
    if (lists(deny, name.toLowerCase())) continue;
    const allowedValue = judge(about, name, value);
    if (allowedValue !== undefined) told[name] = allowedValue;
  }
  return told;
}

/** The value that may leave; undefined if none may. */
function judge(about, name, value) {
  const small = name.toLowerCase();
  if (RECORDED.has(name)) return value;
  if (NEVER.has(small) || NEVER_NAMED.test(small) || !NAME.test(name)) return undefined;
  if (CHOICES.has(small)) return choice(about, small, value);
  if (value === null || value === false) return value; // it was removed
  if (LOOK.has(small)) return String(value).includes("url(") ? style(about, small, String(value)) : value;
  if (STYLED.has(name)) return style(about, name, value);
  if (FILES.has(small) || small === "srcset" || LINKS.has(small)) return address(about, small, String(value));
  return words(about, small, String(value));
}

/** What is typed, chosen, or written on a button. */
function choice({ node, tag, privacy, verdict }, name, value) {
  const { read } = privacy;
  if (tag === "option") return privacy.typed(node) === SHOWN ? value : undefined;
  if (tag === "input" && name === "value") {
    const type = inputType(read, node);
    if (["checkbox", "radio", "file"].includes(type)) return undefined; // nobody sees it
  }
  if (name === "checked") return verdict === SHOWN ? value : undefined;
  if (name !== "value" || value === null) return undefined;
  if (privacy.isField(node)) return hidden(read.value(node), verdict, mask); // the recorder tells what it held first
  if (tag === "button") return undefined; // nobody sees it
  if (tag === "input") return hidden(String(value), verdict, maskWords);
  return verdict === SHOWN ? value : undefined; // of a gauge, a list item
}

function hidden(text, verdict, masked) {
  return verdict === SHOWN ? text : masked(text);
}

/** Style text, or what the recorder tells of changes: property -> value, [value, priority], or false. */
function style({ node, style: verdict, verdict: ofText, base, queries, privacy }, name, value) {
  const isOwn = privacy.isPrivate && name !== "_cssText"; // an element's own style has a page's content in it, as pictures
  const isMasked = verdict !== SHOWN || (isOwn && ofText !== SHOWN);
  const told = { queries, isMasked, hidesText: isMasked || privacy.isPrivate, isInline: name !== "_cssText" };
  if (name === "style" && typeof value === "string") return ofStyle(privacy.read.attribute(node, name) ?? value, base, told);
  if (typeof value === "string") return ofStyle(value, base, told);
  const each = ([name, to]) => [name, one(name, to, base, told)];
  return Object.fromEntries(Object.entries(value).map(each));
}

function one(name, to, base, told) {
  if (Array.isArray(to)) return [ofProperty(name, to[0], base, told), to[1]];
  return typeof to === "string" ? ofProperty(name, to, base, told) : to;
}

/** The value of one style property, judged as in a style sheet. */
export function ofProperty(name, value, base, told) {
  const start = `${name}:`;
  return ofStyle(start + value, base, told).slice(start.length);
}

function address({ tag, node, base, queries, verdict, privacy }, name, value) {
  if (tag === "link") {
    const isStyle = /(^|\s)stylesheet(\s|$)/i.test(privacy.read.attribute(node, "rel") ?? "");
    return isStyle && name === "href" ? ofFile(value, base, queries) : undefined; // the rest is seen by nobody
  }
  if (tag === "base" || tag === "script") return undefined;
  if (tag === "a" || tag === "area") {
    return verdict === SHOWN ? ofLink(value, base, privacy.read.address(node), queries) : "#";
  }
  if (LINKS.has(name) && value.startsWith("#")) return ofFile(value, base); // a shape of this very picture
  if (verdict !== SHOWN) return undefined;
  return name === "srcset" ? ofSet(value, base, queries) : ofFile(value, base, queries);
}

function words(about, name, value) {
  const { verdict, node, tag, privacy, allow } = about;
  if (UNSEEN.has(tag)) return undefined;
  if (STATE.test(name) && /^(true|false|mixed|horizontal|vertical|)$/.test(value)) return value;
  if (value === "" || (verdict === SHOWN && TEXT.has(name))) return value;
  if (verdict !== SHOWN) return TEXT.has(name) ? maskWords(value) : undefined;
  if (lists(allow, name)) return value;
  return value.length > LONGEST || mirrors(node, privacy) ? undefined : value;
}

/** Whether this element directly holds a field whose text is masked: such elements copy what is typed, to grow with it. */
function mirrors(node, privacy) {
  const children = [...(privacy.read.children(node) ?? [])];
  return children.some((child) => privacy.isField(child) && privacy.verdict(child) !== SHOWN);
}

function ofMeta(read, node, found) {
  const told = {};
  if (typeof found.charset === "string") told.charset = found.charset;
  const name = (read.attribute(node, "name") ?? "").toLowerCase();
  if (META.has(name)) Object.assign(told, { name, content: read.attribute(node, "content") ?? "" });
  return told;
}
