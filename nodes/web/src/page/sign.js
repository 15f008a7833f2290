// The visitor's sign: it says what an agent sees of this page, and has the button that ends it. A sign that the visitor
// cannot see or use is worth nothing, so it looks where it stands, by what the browser says lies at its button:
//
//   behind a popover: it is raised above it
//   behind a modal dialog, or an element in full screen, outside of which nothing can be used: it moves in there
//   still not to be seen, or used: `hindered` says so, until it is again
//
// The button is heard at the window, before anything on the page can keep the click to itself. The sign can be moved out of the
// way, by pointer and by keyboard, and stays in the window.

import { Overlay, around, deepest } from "./overlay.js";
import { byKey, inWindow } from "./place.js";

const LOOK_MS = 250;
const CONFIRMED_MS = 6_000; // the agent's console says every two seconds that it shows the page
const PATIENCE = 2; // looks in a row that may fail: dialogs move and fade
const TOP = { width: "max-content", "max-width": "calc(100vw - 16px)", margin: "0 auto", "z-index": "2147483001" };
const STYLE = `
  #sign {
    display: flex; align-items: center; gap: 6px; box-sizing: border-box; padding: 6px 6px 6px 4px;
    border-radius: 0 0 12px 12px; background: #9f1239; color: #fff; font: 550 14px/1.3 system-ui, sans-serif;
    box-shadow: 0 4px 18px rgb(15 23 42 / 35%); cursor: move; touch-action: none; user-select: none;
  }
  #sign.moved { border-radius: 12px; }
  #move, #stop { box-sizing: border-box; min-height: 32px; border: 0; border-radius: 8px; font: inherit; }
  #move { display: flex; flex: none; width: 18px; }
  #move::before { content: ""; display: block; width: 12px; height: 18px; margin: auto;
    background: radial-gradient(circle, currentcolor 1.6px, transparent 2px) 0 0 / 6px 6px; }
  #words { flex: 1; min-width: 0; }
  #stop { flex: none; padding: 0 14px; margin-left: 4px; background: #fff; color: #9f1239; cursor: pointer; }
  #stop:hover { background: #ffe4e6; }
  #sign :focus-visible { outline: 2px solid #fff; outline-offset: 2px; }
  @media (forced-colors: active) { #sign { border: 2px solid; } }
`;
const CONNECTING = "An agent is connecting to this page";
const PAUSED = "Viewing is paused: the agent sees nothing now";
const VIEWING = "An agent is viewing this page";
const STOP = "Stop: the agent sees this page no more";
const MOVE = "Move this sign: drag it, or press arrow keys";
const HEARD = ["click", "pointerdown", "pointermove", "pointerup", "pointercancel", "keydown", "resize"];
const LOOKS_AT = ["toggle", "close", "fullscreenchange"]; // after these, something else may lie above it

export class Sign {
  /** stop(): the visitor's wish · hindered(is): the sign cannot be seen or used, or it can again */
  constructor(told) {
    Object.assign(this, told);
    /** Its place above the page; null while no agent has this page. */
    this.overlay = null;
    /** Its elements: all of it, what moves it, what it says, and the button; null while there is no sign. */
    this.sign = this.handle = this.words = this.button = null;
    /** The timer that says that the agent's console shows the page no more. */
    this.unseen = null;
    /** The timer of its looks. */
    this.timer = null;
    /** Looks in a row that found it out of sight or out of reach. */
    this.failed = 0;
    /** Whether `hindered(true)` was the last word of it. */
    this.isHindered = false;
    /** Where the visitor has moved it, {left, top} in pixels; null: to nowhere, it is at the top. */
    this.place = null;
    /** While a pointer drags it: {id, left, top}, the pointer's and how far its place is from the pointer. */
    this.drag = null;
    this.look = this.look.bind(this);
    this.heard = this.heard.bind(this);
  }

  show() {
    if (!this.overlay) this.make();
    else this.say(CONNECTING);
  }

  /** Nothing leaves at present, for this reason; null: again it does, and the console is about to show it. */
  paused(why = PAUSED) {
    if (!this.words) return;
    clearTimeout(this.unseen);
    this.say(why ?? CONNECTING);
  }

  /** The agent's console has said that it shows this page. Before, and when it says so no more, it is about to. */
  seen() {
    if (!this.words) return;
    this.say(VIEWING);
    clearTimeout(this.unseen);
    this.unseen = setTimeout(() => this.words && this.say(CONNECTING), CONFIRMED_MS);
  }

  say(words) {
    if (this.words.textContent !== words) this.words.textContent = words;
  }

  hide() {
    if (!this.overlay) return;
    clearInterval(this.timer);
    clearTimeout(this.unseen);
    for (const each of HEARD) window.removeEventListener(each, this.heard, true);
    for (const each of LOOKS_AT) window.removeEventListener(each, this.look, true);
    this.overlay.remove();
    this.overlay = this.sign = this.handle = this.words = this.button = null;
    this.drag = null;
    this.failed = 0;
    this.isHindered = false;
  }

  make() {
    this.overlay = new Overlay(TOP, STYLE);
    this.sign = element("div", { id: "sign" });
    this.handle = element("span", { id: "move", role: "button", tabIndex: 0, ariaLabel: MOVE });
    this.words = element("span", { id: "words", role: "status", textContent: CONNECTING });
    this.button = element("button", { type: "button", id: "stop", textContent: "Stop", ariaLabel: STOP });
    this.sign.append(this.handle, this.words, this.button);
    this.overlay.shadow.append(this.sign);
    this.stand();
    this.overlay.put();
    this.timer = setInterval(this.look, LOOK_MS);
    this.listen();
  }

  /** Also after `document.open()`, which takes all listeners away; twice is once. */
  listen() {
    for (const each of HEARD) window.addEventListener(each, this.heard, { capture: true, passive: false });
    for (const each of LOOKS_AT) window.addEventListener(each, this.look, true);
  }

  heard(event) {
    const { type } = event;
    if (type === "resize") return this.stand();
    if (this.drag && type.startsWith("pointer")) return this.dragged(event);
    const path = event.composedPath();
    if (!path.includes(this.sign)) return undefined;
    if (type === "click" && path.includes(this.button)) {
      event.stopImmediatePropagation();
      this.stop();
    } else if (type === "pointerdown" && event.button === 0 && !path.includes(this.button)) {
      event.preventDefault();
      this.handle.focus({ preventScroll: true });
      const { left, top } = this.sign.getBoundingClientRect();
      this.drag = { id: event.pointerId, left: left - event.clientX, top: top - event.clientY };
    } else if (type === "keydown" && path.includes(this.handle)) {
      const to = byKey(this.sign.getBoundingClientRect(), event.key);
      if (!to) return undefined;
      event.preventDefault();
      event.stopImmediatePropagation();
      this.stand(to);
    }
    return undefined;
  }

  dragged({ type, pointerId, clientX, clientY }) {
    const { id, left, top } = this.drag;
    if (pointerId !== id) return;
    if (type === "pointermove") this.stand({ left: left + clientX, top: top + clientY });
    else this.drag = null;
  }

  /** Stand where the visitor has moved it, within the window as it is now. */
  stand(to = this.place) {
    this.sign.classList.toggle("moved", to !== null);
    if (to === null) return;
    const { width, height } = this.sign.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    this.place = inWindow(to, { width, height }, { width: clientWidth, height: Math.min(clientHeight, innerHeight) });
    const { left, top } = this.place;
    this.overlay.style({ ...TOP, inset: `${top}px auto auto ${left}px`, margin: "0" });
  }

  /** See whether it can be seen and used; if not, put it where it can. */
  look(event) {
    if (!this.overlay || event?.target === this.overlay.host || document.hidden || !document.documentElement) return;
    this.listen();
    if (!this.isVisible()) this.overlay.put();
    const isFine = this.overlay.raise(this.button, modal) && this.isVisible();
    this.failed = isFine ? 0 : this.failed + 1;
    const isHindered = this.failed > 0 && (this.isHindered || this.failed >= PATIENCE);
    if (isHindered === this.isHindered) return;
    this.isHindered = isHindered;
    this.hindered(isHindered);
  }

  isVisible() {
    return this.button.checkVisibility?.({ opacityProperty: true, visibilityProperty: true }) !== false;
  }
}

/** What nothing can be used outside of: around what has the keyboard, or in full screen. */
function modal() {
  return around(deepest((root) => root.activeElement)) ?? deepest((root) => root.fullscreenElement) ?? undefined;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
