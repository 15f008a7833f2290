// Which attributes of a page's elements may be rebuilt on an agent's screen, see safe.js. Pure.
//
// An attribute is kept unless it is known to do something: style sheets ask for any name. An address is kept only if its
// scheme is one of few; whether it is asked for then is up to the console's content policy.

const DROPPED = new Set(
  ("srcdoc http-equiv action formaction target formtarget formmethod form ping data autofocus autoplay manifest " +
    "codebase archive classid code profile allow allowfullscreen sandbox csp referrerpolicy attributionsrc nonce integrity " +
    "crossorigin download accesskey popovertarget popovertargetaction command commandfor is xml:base " +
    "shadowrootmode blocking imagesrcset imagesizes dirname").split(" "),
);
const ADDRESSES = new Set(
  "href xlink:href src poster background cite longdesc usemap lowsrc dynsrc icon rr_src rrweb-original-src".split(" "),
);
const ANCHORS = new Set(["a", "area"]);
const SCHEMES = new Set(["http", "https", "blob", "mailto", "tel", "sms"]);
const DATA = /^data:(?:image|font)\//;
const RUNS = /(?:^|[;,])(?:javascript|vbscript|livescript|data:(?:text|application)\/)/;
const SMIL = new Set(["animate", "set", "animatetransform", "animatemotion", "animatecolor", "discard"]);
const RR = new Set(
  ("rr_width rr_height rr_left rr_top rr_scrollleft rr_scrolltop rr_dataurl rr_open_mode rr_mediastate rr_mediacurrenttime " +
    "rr_mediaplaybackrate rr_mediamuted rr_medialoop rr_mediavolume").split(" "),
);
const OF_SHEETS = new Set("rel href media type title disabled class id _csstext site-connect-open".split(" "));
const OF_METAS = new Set(["charset", "name", "content"]);
const METAS = new Set(["viewport", "color-scheme", "theme-color"]);

/** The attributes of an element that is built; null: there is to be nothing of it. `css`: hasRoomForCss(text). */
export function attributesOf(tag, said, css) {
  if (tag === "script") return {};
  if (tag === "base" || tag === "param") return null;
  if (tag === "link") return ofSheet(said, css);
  const kept = {};
  for (const [name, value] of Object.entries(said)) {
    if (name !== "__proto__" && isKept(tag, name.toLowerCase(), value, css)) kept[name] = value;
    else if (ANCHORS.has(tag) && name.toLowerCase() === "href") kept[name] = "#"; // it looks like a link still
  }
  if (tag === "meta") return METAS.has(String(kept.name).toLowerCase()) || "charset" in kept ? only(OF_METAS, kept) : null;
  if (SMIL.has(tag) && changesWhatRuns(said)) return {};
  return kept;
}

/** Those of an element's changed attributes that may change. kind: `link`, `meta`, `iframe`, or undefined. */
export function changesOf(said, kind, css) {
  const kept = {};
  if (kind === "meta") return kept;
  for (const [name, value] of Object.entries(said)) {
    const plain = name.toLowerCase();
    if (name === "__proto__" || (kind === "link" && (plain === "rel" || !OF_SHEETS.has(plain)))) continue;
    if (plain === "attributename" || (plain === "href" && kind === "link" && !isOfWeb(value))) continue;
    if (value === null || isStyle(plain, value) || isKept(kind ?? "", plain, value, css)) kept[name] = value;
  }
  return kept;
}

/** A link that is no style sheet connects, fetches ahead or does worse. */
function ofSheet(said, css) {
  if (typeof said._cssText === "string") {
    const { rel, href, ...rest } = only(OF_SHEETS, said);
    if (!css.hasRoomForCss(said._cssText)) rest._cssText = "";
    return texts(rest);
  }
  const rel = String(said.rel ?? "").toLowerCase().split(/\s+/);
  if (!rel.includes("stylesheet") || !isOfWeb(said.href)) return null;
  return texts({ ...only(OF_SHEETS, said), rel: rel.includes("alternate") ? "alternate stylesheet" : "stylesheet" });
}

function isKept(tag, name, value, css) {
  const local = name.slice(name.indexOf(":") + 1).trim();
  if (local.startsWith("on") || DROPPED.has(name.trim()) || DROPPED.has(local)) return false;
  if (!["string", "number", "boolean"].includes(typeof value)) return value === null;
  if (name.startsWith("rr_") && !RR.has(name)) return false;
  if (name === "rr_dataurl") return DATA.test(bare(value));
  if (name === "_csstext") return css.hasRoomForCss(String(value));
  if (tag === "iframe" && (local === "src" || name === "name" || name === "loading")) return false;
  if (ADDRESSES.has(name) || local === "href" || local === "src") return isAddress(value);
  return !RUNS.test(bare(value));
}

/** An address without a scheme, or with one that only shows something. */
function isAddress(value) {
  const plain = bare(value);
  const scheme = /^([a-z][a-z0-9+.-]*):/.exec(plain)?.[1];
  return scheme === undefined || SCHEMES.has(scheme) || DATA.test(plain);
}

function isOfWeb(value) {
  const scheme = /^([a-z][a-z0-9+.-]*):/.exec(bare(value))?.[1];
  return typeof value === "string" && [undefined, "http", "https", "blob"].includes(scheme);
}

/** As browsers read a scheme: without blanks and control characters, in small letters. */
function bare(value) {
  // eslint-disable-next-line no-control-regex
  return String(value).slice(0, 4_000).replace(/[\u0000-\u0020\u007f-\u00a0]/g, "").toLowerCase();
}

function changesWhatRuns(said) {
  const name = Object.entries(said).find(([each]) => each.toLowerCase() === "attributename")?.[1];
  return name !== undefined && /href|src|^\s*on/i.test(String(name));
}

/** The values of single properties, as a change of `style` may say them. */
function isStyle(name, value) {
  if (name !== "style" || typeof value !== "object" || value === null) return false;
  const isValue = (each) => typeof each === "string" || each === false;
  return Object.values(value).every((each) => isValue(each) || (Array.isArray(each) && each.every(isValue)));
}

function only(names, attributes) {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => names.has(name.toLowerCase())));
}

function texts(attributes) {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => typeof value === "string" || value === true));
}
