// The visitor's sign: it says what an agent sees of this page, and has the button that ends it. A sign that the visitor
// cannot see or use is worth nothing, so it looks where it stands, by what the browser says lies at its button:
//
//   behind a popover: it is raised above it
//   behind a modal dialog, or an element in full screen, outside of which nothing can be used: it moves in there
//   still not to be seen, or used: `hindered` says so, until it is again
//
// The button is heard at the window, before anything on the page can keep the click to itself.

import { Overlay } from "./overlay.js";

const LOOK_MS = 250;
const PATIENCE = 2; // looks in a row that may fail: dialogs move and fade
const SHOWN = { width: "fit-content", "max-width": "calc(100vw - 24px)", margin: "0 auto", "z-index": "2147483001" };
const SIGN = {
  display: "flex",
  gap: "12px",
  alignItems: "center",
  flexWrap: "wrap",
  boxSizing: "border-box",
  padding: "8px 8px 8px 16px",
  borderRadius: "0 0 12px 12px",
  background: "#9f1239",
  color: "#fff",
  font: "600 15px/1.3 system-ui, sans-serif",
  boxShadow: "0 4px 18px rgb(15 23 42 / 35%)",
};
const BUTTON = {
  font: "inherit",
  padding: "6px 14px",
  border: "0",
  borderRadius: "8px",
  background: "#fff",
  color: "#9f1239",
  cursor: "pointer",
};
const CONNECTING = "An agent is connecting to this page";
const VIEWING = "An agent is viewing this page";
const LOOKS_AT = ["toggle", "close", "fullscreenchange"]; // after these, something else may lie above it

export class Sign {
  /** stop(): the visitor's wish · hindered(is): the sign cannot be seen or used, or it can again */
  constructor(told) {
    Object.assign(this, told);
    /** Its place above the page; null while no agent has this page. */
    this.overlay = null;
    /** The button, and what the sign says, as elements; null while there is no sign. */
    this.button = this.words = null;
    /** The timer of its looks. */
    this.timer = null;
    /** Looks in a row that found it out of sight or out of reach. */
    this.failed = 0;
    /** Whether `hindered(true)` was the last word of it. */
    this.isHindered = false;
    this.look = this.look.bind(this);
    this.clicked = this.clicked.bind(this);
  }

  show() {
    if (!this.overlay) this.make();
  }

  /** The agent's console has said that it shows this page: before, it was about to. */
  seen() {
    if (this.words) this.words.textContent = VIEWING;
  }

  /** Nothing leaves at present, for this reason; null: again it does, and the console is about to show it. */
  paused(why) {
    if (this.words) this.words.textContent = why ?? CONNECTING;
  }

  hide() {
    if (!this.overlay) return;
    clearInterval(this.timer);
    window.removeEventListener("click", this.clicked, true);
    for (const each of LOOKS_AT) window.removeEventListener(each, this.look, true);
    this.overlay.remove();
    this.overlay = this.button = this.words = null;
    this.failed = 0;
    this.isHindered = false;
  }

  make() {
    this.overlay = new Overlay(SHOWN);
    const sign = document.createElement("div");
    sign.id = "sign";
    sign.setAttribute("role", "status");
    this.words = document.createElement("span");
    this.words.textContent = CONNECTING;
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.textContent = "Stop";
    this.button.setAttribute("aria-label", "Stop: the agent sees this page no more");
    Object.assign(sign.style, SIGN);
    Object.assign(this.button.style, BUTTON);
    sign.append(this.words, this.button);
    this.overlay.shadow.append(sign);
    this.overlay.put();
    this.timer = setInterval(this.look, LOOK_MS);
    this.listen();
  }

  /** Also after `document.open()`, which takes all listeners away; twice is once. */
  listen() {
    window.addEventListener("click", this.clicked, true);
    for (const each of LOOKS_AT) window.addEventListener(each, this.look, true);
  }

  clicked(event) {
    if (!event.composedPath().includes(this.button)) return;
    event.stopImmediatePropagation();
    this.stop();
  }

  /** See whether it can be seen and used; if not, put it where it can. */
  look(event) {
    if (!this.overlay || event?.target === this.overlay.host || document.hidden || !document.documentElement) return;
    this.listen();
    const isFine = this.isUsable() || this.isUsableIn(document.documentElement) || this.isUsableIn(modal(this));
    this.failed = isFine ? 0 : this.failed + 1;
    const isHindered = this.failed > 0 && (this.isHindered || this.failed >= PATIENCE);
    if (isHindered === this.isHindered) return;
    this.isHindered = isHindered;
    this.hindered(isHindered);
  }

  isUsableIn(parent) {
    if (!parent) return false;
    this.overlay.put(parent);
    return this.isUsable();
  }

  isUsable() {
    const { host, shadow } = this.overlay;
    if (!host.isConnected || this.button.checkVisibility?.({ opacityProperty: true, visibilityProperty: true }) === false) {
      return false;
    }
    const [x, y] = this.middle();
    return host.getRootNode().elementFromPoint(x, y) === host && shadow.elementFromPoint(x, y) === this.button;
  }

  /** The middle of the button, in the window. */
  middle() {
    const { left, top, width, height } = this.button.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  }
}

/** What nothing can be used outside of: at the sign's button, around what has the keyboard, or in full screen. */
function modal(sign) {
  const [x, y] = sign.middle();
  return (
    around(deepest((root) => root.elementFromPoint(x, y))) ??
    around(deepest((root) => root.activeElement)) ??
    deepest((root) => root.fullscreenElement)
  );
}

/** The element that `find` names in the document; if it has a shadow, the one that `find` names there, and so on. */
function deepest(find) {
  let found = find(document);
  for (;;) {
    const inner = found?.shadowRoot && find(found.shadowRoot);
    if (inner?.getRootNode() !== found?.shadowRoot || !inner) return found;
    found = inner;
  }
}

function around(element) {
  for (let each = element; each; each = each.getRootNode().host) {
    const found = each.closest("dialog:modal, :fullscreen");
    if (found) return found;
  }
  return undefined;
}
