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

  /** Put it into `parent`, above all that is in the top layer now. What has the keyboard keeps it. */
  put(parent = document.documentElement) {
    const focused = this.shadow.activeElement;
    if (this.host.parentNode !== parent) parent.append(this.host);
    if (!this.host.showPopover) return; // an older browser: its z-index has to do
    if (this.host.matches(":popover-open")) this.host.hidePopover();
    this.host.showPopover();
    focused?.focus({ preventScroll: true });
  }

  remove() {
    this.host.remove();
  }
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
