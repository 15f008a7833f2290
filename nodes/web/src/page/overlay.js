// An element of ours above the page: `<site-connect>`, with a shadow of its own. Whatever the page's style says of all
// elements, it is shown, in the top layer where the browser has one (`popover`), and it comes back when it was removed.

const OWN = {
  all: "initial", // first: of what the page's style says of all elements nothing is left but what follows
  display: "block",
  position: "fixed",
  inset: "0 0 auto 0",
  width: "0",
  height: "auto",
  margin: "0",
  overflow: "visible",
  direction: "ltr",
};

export class Overlay {
  /** style, more: see `style` */
  constructor(style = {}, more = "") {
    this.host = document.createElement("site-connect");
    this.shadow = this.host.attachShadow({ mode: "open" });
    this.host.setAttribute("popover", "manual");
    this.sheet = new CSSStyleSheet();
    this.shadow.adoptedStyleSheets = [this.sheet];
    this.style(style, more);
  }

  /** What is important within a shadow is stronger than all that the page says, its important rules as well.
   *  style: properties of the element beside its own, by their CSS names · more: further rules, for what is in its shadow */
  style(style, more = this.more) {
    const rules = Object.entries({ ...OWN, ...style }).map(([name, value]) => `${name}: ${value} !important`);
    this.more = more;
    this.sheet.replaceSync(`:host { ${rules.join("; ")} } ${more}`);
  }

  /** Put it into `parent`, above all that is in the top layer now. What has the keyboard keeps it, and a frame in it is not
   *  loaded again where the browser can move it as it is. */
  put(parent = document.documentElement) {
    const focused = this.shadow.activeElement;
    const { host } = this;
    if (host.parentNode !== parent) parent[parent.moveBefore && host.isConnected ? "moveBefore" : "insertBefore"](host, null);
    if (!this.host.showPopover) return; // an older browser: its z-index has to do
    if (this.host.matches(":popover-open")) this.host.hidePopover();
    this.host.showPopover();
    focused?.focus({ preventScroll: true });
  }

  /** Whether `inner`, in its shadow, lies above all; else have it lie above, if need be within a modal dialog of the page,
   *  outside of which nothing can be used. other(): where to put it, if nothing modal lies at its place */
  raise(inner, other) {
    if (this.isAbove(inner)) return true;
    this.put();
    if (this.isAbove(inner)) return true;
    this.put(around(deepest(atMiddle(inner))) ?? other?.());
    return this.isAbove(inner);
  }

  isAbove(inner) {
    const at = atMiddle(inner);
    const { host, shadow } = this;
    return host.isConnected && at(host.getRootNode()) === host && at(shadow) === inner;
  }

  remove() {
    this.host.remove();
  }
}

/** What finds, in a document or a shadow, the element that lies at the middle of this one. */
function atMiddle(element) {
  const { left, top, width, height } = element.getBoundingClientRect();
  return (root) => root.elementFromPoint(left + width / 2, top + height / 2);
}

/** The element that `find` names in the document; if it has a shadow, the one that `find` names there, and so on. */
export function deepest(find) {
  let found = find(document);
  for (;;) {
    const inner = found?.shadowRoot && find(found.shadowRoot);
    if (inner?.getRootNode() !== found?.shadowRoot || !inner) return found;
    found = inner;
  }
}

/** The modal dialog, or the element in full screen, that this one is in. */
export function around(element) {
  for (let each = element; each; each = each.getRootNode().host) {
    const found = each.closest("dialog:modal, :fullscreen");
    if (found) return found;
  }
  return undefined;
}

const FIRST_MS = 20; // what has removed it comes to its end first
const LONGEST_MS = 5_000; // a page that removes it again and again does not get into a race

/** Call `back()` whenever `isThere()` has become false: after a while that grows, up to LONGEST_MS, with each time.
 *  Notices what hydration, navigation by script and `document.open()` remove from the document itself. */
export function keepThere(isThere, back) {
  let wait_ms = FIRST_MS;
  let timer = null;
  let root = null;
  const observer = new MutationObserver(look);

  function look() {
    if (document.documentElement !== root) {
      root = document.documentElement;
      observer.disconnect();
      observer.observe(document, { childList: true });
      if (root) observer.observe(root, { childList: true });
    }
    if (timer === null && root && !isThere()) {
      timer = setTimeout(putBack, wait_ms);
      wait_ms = Math.min(LONGEST_MS, wait_ms * 2);
    }
  }

  function putBack() {
    timer = null;
    if (document.documentElement && !isThere()) back();
    look();
  }

  look();
}
