// The lines of a chat as elements: who, what, when. What was said is text; addresses of web pages in it are links.

const ADDRESS = /https?:\/\/[^\s<>"']+/gi;
const NEARLY_PX = 4; // positions are not whole numbers where a page is zoomed
const AFTER = /[.,;:!?)\]}…]+$/; // what ends a sentence, and hardly an address

/** A text in parts: {text} or {text, href}. Only http and https are links. */
export function parts(text) {
  const found = [];
  let from = 0;
  for (const { 0: match, index } of text.matchAll(ADDRESS)) {
    const address = match.replace(AFTER, "");
    const href = hrefOf(address);
    if (!href) continue;
    if (index > from) found.push({ text: text.slice(from, index) });
    found.push({ text: address, href });
    from = index + address.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

function hrefOf(address) {
  try {
    const url = new URL(address);
    const isPlain = ["http:", "https:"].includes(url.protocol) && !url.username && !url.password;
    return isPlain ? url.href : ""; // a name before the host looks like another site
  } catch {
    return "";
  }
}

/** One line: {from, text, own, at, isSystem}; `at` in seconds since 1970, if known. */
export function line({ from, text, own, at, isSystem }) {
  const what = parts(text).map((each) => (each.href ? link(each) : each.text));
  if (isSystem) return element("li", { className: "system" }, ...what, ...time(at));
  const who = element("span", { className: "who", textContent: from });
  who.hidden = !from;
  return element("li", { className: own ? "own" : "" }, who, element("span", { className: "said" }, ...what), ...time(at));
}

function link({ text, href }) {
  return element("a", { href, target: "_blank", rel: "noopener noreferrer", textContent: text });
}

function time(at) {
  if (!at) return [];
  const when = new Date(at * 1000);
  const words = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return [element("time", { dateTime: when.toISOString(), title: when.toLocaleString(), textContent: words })];
}

/** Keep the newest line of a log in sight, also when it is shown again or has another size; one who has scrolled up reads on
 *  there. Returns what to call after lines were added: it shows the newest. */
export function keepAtEnd(log) {
  let isAtEnd = true;
  log.addEventListener("scroll", () => {
    if (log.clientHeight) isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEARLY_PX;
  });
  function toEnd() {
    isAtEnd = true;
    log.scrollTop = log.scrollHeight;
  }
  new ResizeObserver(() => isAtEnd && toEnd()).observe(log);
  return toEnd;
}

export function element(name, properties, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
}
