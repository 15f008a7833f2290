// What of an address may leave the page: where something lies, not what is asked for there, since a query or a hash may
// hold what was typed, and tokens. Pure. `queries`: address prefixes below which the query may stay.

const WITHIN = /^#[\w-]{1,64}$/; // the name of a place in a page, or of a shape; no path, no parameters
const PICTURES = /^data:(image|font|audio|video|application\/(x-)?font)/i;
const WEB = new Set(["http:", "https:"]);
const URL_IN_STYLE = /url\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^)]*?))\s*\)/gi;
const IMPORT = /(@import\s+)(?:"([^"]*)"|'([^']*)')/gi;
const TOLD_BY_STYLE = // properties by which a page shows text
  /(?<![\w-])(content|--[\w-]+|quotes|list-style(?:-type)?|(?:additive-)?symbols|prefix|suffix|pad|negative|text-overflow|hyphenate-character|string-set|text-emphasis(?:-style)?|initial-value)\s*:(?:[^;{}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*/gi;
const SET = /(image-set\()((?:[^()"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\([^()]*\))*)/gi;
const TYPES = /type\([^()]*\)/gi;
const CONDITION = /(\[[^\]"'=]*=\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\]\s]*)/g; // of a selector, by an attribute
const ESCAPED = // a declaration whose name is not what it seems
  /(?<=^|;)[^;:"']*\\[^;:"']*:(?:[^;"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*;?/g;
const COMMENT = /\/\*[^]*?(\*\/|$)/g;
const QUOTED = /"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/g;
const ICON = /^(\\[0-9a-f]{1,6}\s?|[^\w]|.)?$/iu; // of an icon font, or a single letter

/** The prefixes of a list of addresses; what is no address is left out. */
export function prefixes(list) {
  return list.flatMap((each) => (read(each) ? [read(each).href] : []));
}

/** The page's own address, as the agent is told it: the site, and the path only if it `tellsPath`. */
export function ofPage(href, tellsPath) {
  const url = read(href);
  if (!url || !WEB.has(url.protocol)) return "about:blank";
  return url.origin + (tellsPath || url.pathname === "/" ? url.pathname : "/…");
}

/** The address of something that is shown: a picture, a style sheet. "" for what is not told. */
export function ofFile(text, base, queries = []) {
  if (PICTURES.test(text)) return text;
  if (WITHIN.test(text)) return text;
  const url = read(text, base);
  if (!url || !WEB.has(url.protocol)) return "";
  url.username = url.password = "";
  const { hash } = url;
  url.hash = "";
  if (!queries.some((prefix) => url.href.startsWith(prefix))) url.search = "";
  if (/\.svg$/i.test(url.pathname) && WITHIN.test(hash)) url.hash = hash; // a shape in a file of shapes
  return url.href;
}

/** Where a link leads. A link within this page is its hash; "#" for what is not told, so that it looks as a link. */
export function ofLink(text, base, here, queries = []) {
  const url = read(text, base);
  const page = read(here);
  if (!url || !page) return "#";
  if (url.origin === page.origin && url.pathname === page.pathname) return WITHIN.test(url.hash) ? url.hash : "#";
  return WEB.has(url.protocol) ? ofFile(url.href, base, queries) : "#";
}

/** A list of addresses with sizes, as `srcset` has it. */
export function ofSet(text, base, queries = []) {
  const each = text.split(/,\s+|,$/).map((part) => part.trim().split(/\s+/));
  return each
    .map(([address, ...size]) => [ofFile(address, base, queries), ...size.filter((word) => /^[\d.]+[wxh]$/.test(word))])
    .filter(([address]) => address)
    .map((words) => words.join(" "))
    .join(", ");
}

/** Style text. `isMasked`: no address stays, and no text that it would show. `hidesText`: no such text. `isInline`: it is
 *  of one element, whose custom properties may hold what that shows. */
export function ofStyle(text, base, { queries = [], isMasked = false, hidesText = isMasked, isInline = false } = {}) {
  const address = (whole, ...parts) => {
    const found = parts.slice(0, 3).find((part) => part !== undefined) ?? "";
    if (found.startsWith("#")) return whole;
    if (isMasked) return 'url("")';
    if (PICTURES.test(found)) return whole;
    return `url("${ofFile(found, base, queries).replace(/"/g, "%22")}")`;
  };
  const imported = (_, start, double, single) =>
    isMasked ? start + '""' : `${start}"${ofFile(double ?? single, base, queries)}"`;
  const file = (_, double, single) => (isMasked ? '""' : `"${ofFile(double ?? single, base, queries)}"`);
  const chosen = (_, start, list) => start + list.replace(TYPES, "").replace(QUOTED, file);
  const seen = hidesText ? text.replace(COMMENT, "") : text;
  const cut = seen.replace(SET, chosen).replace(URL_IN_STYLE, address).replace(IMPORT, imported);
  if (!hidesText) return cut;
  const plain = isInline && isMasked ? cut.replace(ESCAPED, "") : cut;
  const conditions = isMasked && !isInline ? cut.replace(CONDITION, '$1""') : plain;
  return conditions.replace(TOLD_BY_STYLE, (declaration, name) => {
    if (isMasked && /^(--|initial)/.test(name)) return `${name}:`;
    return declaration.replace(QUOTED, (whole, double, single) =>
      ICON.test(double ?? single) ? whole : `"${"*".repeat((double ?? single).length)}"`,
    );
  });
}

function read(text, base) {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}
