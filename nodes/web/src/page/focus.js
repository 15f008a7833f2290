// Where the keyboard goes around the frame, which lies at the end of the document: by Tab it comes right after the element
// that opened it, and what it had goes back there when it is closed.

const CAN_HAVE_IT = "a[href], area[href], button, input, select, textarea, summary, iframe, [tabindex], [contenteditable]";

export class Focus {
  /** iframe(): the frame's element, while it is shown; else null · enter(last): the frame is to focus its first or last control */
  constructor(told) {
    Object.assign(this, told);
    /** What had the keyboard when the page opened the frame; null if that was nothing of the page. */
    this.opener = null;
    this.pressed = this.pressed.bind(this);
    this.listen();
  }

  /** Also after `document.open()`, which takes all listeners away; twice is once. */
  listen() {
    window.addEventListener("keydown", this.pressed, true);
  }

  opened() {
    const active = focused();
    if (!active || active === document.body || active.closest("site-connect")) return;
    this.opener = active;
  }

  /** The frame is not to be seen any more; `had`: whether it had the keyboard. */
  closed(had) {
    if (had && this.opener?.isConnected) this.opener.focus();
  }

  /** The frame's first (`back`) or last control was left by Tab. */
  left(back) {
    const to = back ? this.opener : this.next();
    if (to?.isConnected) to.focus();
  }

  pressed(event) {
    if (event.key !== "Tab" || event.altKey || event.ctrlKey || event.metaKey || !this.iframe()) return;
    if (!this.opener?.isConnected) return;
    const active = focused();
    if (active !== (event.shiftKey ? this.next() : this.opener)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.iframe().focus();
    this.enter(event.shiftKey);
  }

  /** What Tab reaches after the opener; undefined for nothing. */
  next() {
    const { opener } = this;
    const all = [...opener.getRootNode().querySelectorAll(CAN_HAVE_IT)];
    const isAfter = (each) => opener.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING;
    return all.find((each) => each.tabIndex >= 0 && !each.disabled && isAfter(each) && each.getClientRects().length);
  }
}

/** The element that has the keyboard, also within components. */
export function focused() {
  let found = document.activeElement;
  while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  return found;
}

/** Whether the visitor may be typing on the page, also within components and in an editor's frame. */
export function isTyped() {
  const active = focused();
  return (active?.contentDocument?.activeElement ?? active)?.matches(":read-write");
}
