// The frame on the page: an iframe from the gateway's origin, and what page and frame say to each other by postMessage.
// Each message names the one origin that may read it, and is taken only from the window and origin of the frame.
//
// Page and frame may load in either order: each `load` of the iframe is greeted by a `hello` with the page's
// subscriptions; what the page says before the frame has answered waits, in order. A frame that has not answered is not
// shown: what a browser shows of a page that it may not load is nothing for visitors.

import { Focus, focused, isTyped } from "./focus.js";
import { problem } from "./topics.js";

const MAX_WAITING = 1000; // messages that wait for the frame
const ANSWER_MS = 10_000; // a frame that is silent for longer will hardly answer
const NAMED_BY_HELLO = new Set(["subscribe", "unsubscribe", "view", "consent", "privacy"]); // so they need not wait before it
const LOOK_MS = 250;
const SIZES = { shown: ["360px", "330px"], minimised: ["230px", "52px"], tall: ["360px", "540px"] };
const DIM = "0 0 0 100vmax rgb(15 23 42 / 50%)"; // the page behind a question, on a screen that the frame mostly covers
const SMALL = "(max-width: 600px)";
const LOOK = {
  position: "fixed",
  right: "12px",
  bottom: "12px",
  maxWidth: "calc(100vw - 24px)",
  maxHeight: "calc(100vh - 24px)",
  border: "0",
  boxShadow: "0 8px 32px rgb(15 23 42 / 28%)",
  zIndex: "2147483000",
};

export class FrameLink {
  /** overlay: the place of the iframe, above the page · hello(): what to greet the frame with · said(message)
   *  privacy(): what a question is to say of it · silent(why): the frame does not answer */
  constructor(given) {
    Object.assign(this, given);
    /** The iframe; null until `load`. */
    this.iframe = null;
    /** Whether the frame was greeted at least once: before, its greeting will name all subscriptions. */
    this.greeted = false;
    /** Whether the frame has answered the last greeting: before, messages wait. */
    this.ready = false;
    /** Whether this iframe has ever answered: before, it is not shown. */
    this.answered = false;
    /** The timer that says `silent`; it runs from when the iframe is there until it answers. */
    this.timer = undefined;
    /** Messages for the frame, in order; empty while it is ready. At most MAX_WAITING, stops aside. */
    this.waiting = [];
    /** Whether the frame has asked for the tall window, as a chat needs it. */
    this.tall = false;
    /** How the page last asked to show the frame, a key of SIZES or "hidden"; null: as the frame remembers it. */
    this.view = null;
    /** How often the page has chosen a view. What the frame says of it counts only once it knows of every choice. */
    this.choices = 0;
    /** Where the keyboard goes from and to the frame. */
    this.keyboard = new Focus({
      iframe: () => (this.isSeen ? this.iframe : null),
      enter: (last) => this.post({ t: "enter", last }),
    });
    /** What had the keyboard before the frame got it for a question, {element}; null while it asks none. */
    this.asking = null;
    /** The timer of its looks while it asks. */
    this.looks = undefined;
    this.heard = this.heard.bind(this);
    window.addEventListener("message", this.heard);
  }

  /** Whether the frame is on the screen. */
  get isSeen() {
    return this.answered && this.view in SIZES;
  }

  /** Whether the iframe, if it was wanted, is on the page. */
  get isThere() {
    return !this.iframe || this.iframe.isConnected;
  }

  /** Have the iframe loaded again that was removed from the page, by `document.open()` also with all listeners. */
  again() {
    window.addEventListener("message", this.heard); // twice is once
    this.keyboard.listen();
    this.iframe?.remove();
    this.iframe = null;
    this.greeted = this.ready = this.answered = false;
    this.load();
  }

  /** Have the frame loaded, if it is not. An iframe that the page holds already is taken. */
  load() {
    if (this.iframe) return;
    const there = document.querySelector("iframe[data-site-connect-frame]");
    this.iframe = there || document.createElement("iframe");
    this.iframe.addEventListener("load", () => this.greet());
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.silent(this.whySilent()), ANSWER_MS);
    this.style();
    if (there) {
      this.greet(); // it may have loaded before us
    } else {
      this.iframe.title = "Help: contact code and chat";
      this.iframe.src = `${this.origin}/frame.html`;
      this.iframe.referrerPolicy = "origin";
      this.overlay.shadow.append(this.iframe);
    }
  }

  whySilent() {
    const allowed = `pages of ${location.origin} (--allow-origin)`;
    return `no frame after ${ANSWER_MS / 1000} s: expected a gateway that allows ${allowed}, and a page that allows ${this.origin} (frame-src)`;
  }

  greet() {
    this.greeted = true;
    this.ready = false;
    this.waiting = this.waiting.filter(({ t }) => !NAMED_BY_HELLO.has(t));
    this.post({ t: "hello", view: this.view, choices: this.choices, ...this.hello() });
  }

  /** Send a message, or keep it until the frame is ready. Throws HighWaterMarkReached; a stop is never refused. */
  tell(message) {
    if (this.ready) return this.post(message);
    if (message.t === "update") return undefined; // a snapshot follows when the frame is there
    if (!this.greeted && NAMED_BY_HELLO.has(message.t)) return undefined;
    if (this.waiting.length >= MAX_WAITING && message.t !== "stop") {
      throw problem("HighWaterMarkReached", `${MAX_WAITING} calls wait for the frame`);
    }
    this.waiting.push(message);
    return undefined;
  }

  post(message) {
    this.iframe.contentWindow?.postMessage({ site_connect: 1, ...message }, this.origin);
  }

  heard(event) {
    if (!this.iframe || event.source !== this.iframe.contentWindow || event.origin !== this.origin) return;
    const message = event.data;
    if (message?.site_connect !== 1) return;
    if (message.t === "room") {
      this.stretch(message.tall);
    } else if (message.t === "leave") {
      this.keyboard.left(message.back === true);
    } else if (message.t === "ready") {
      this.ready = this.answered = true;
      clearTimeout(this.timer);
      this.style();
      for (const each of this.waiting.splice(0)) this.post(each);
      this.focus();
    } else {
      this.said(message);
    }
  }

  /** The page chooses how the frame is shown. */
  show(view) {
    const before = this.view;
    this.view = view;
    this.choices += 1;
    if (view === "shown") this.keyboard.opened();
    if (!this.iframe) return;
    const had = focused() === this.iframe;
    this.style();
    if (before === "shown" && view !== "shown") this.keyboard.closed(had);
    this.tell({ t: "view", view, choices: this.choices });
    this.focus();
  }

  /** The frame says how it is to be shown: what it remembers, or what the gateway knows. */
  follow({ view, choices }) {
    if (choices !== this.choices) return; // it has not heard yet what the page chose meanwhile
    this.view = view;
    this.style();
  }

  /** The frame gets the keyboard, but from nobody who may be writing on the page. Return whether it does. */
  letWrite() {
    const may = this.answered && this.view === "shown" && !isTyped();
    if (may) this.iframe.focus({ preventScroll: true });
    return may;
  }

  /** The frame has a question, and gets the keyboard when it is shown. Return how it is shown now. */
  attend() {
    this.asking = { element: document.activeElement };
    this.looks = setInterval(() => this.look(), LOOK_MS);
    this.look();
    return this.view in SIZES ? this.view : "hidden";
  }

  /** While it asks: it can be seen and used, also above a modal dialog, and says what is so now. A browser that cannot move
   *  an iframe as it is loads the frame again. */
  look() {
    this.tell({ t: "privacy", privacy: this.privacy() });
    if (this.isSeen) this.move(() => this.overlay.raise(this.iframe));
  }

  move(how) {
    const { contentWindow } = this.iframe;
    how();
    if (this.iframe.contentWindow !== contentWindow) this.again();
  }

  focus() {
    if (this.asking && this.letWrite()) this.tell({ t: "focus" });
  }

  /** It asks no more: what had the keyboard gets it back, if the frame still has it. */
  attended() {
    const { element } = this.asking ?? {};
    this.asking = null;
    clearInterval(this.looks);
    if (!this.iframe) return;
    this.style();
    this.move(() => this.overlay.put());
    if (focused() === this.iframe) element?.focus?.({ preventScroll: true });
  }

  stretch(tall) {
    this.tall = tall;
    this.style();
  }

  style() {
    const [width, height] = SIZES[this.view === "shown" && this.tall ? "tall" : this.view] || SIZES.minimised;
    Object.assign(this.iframe.style, LOOK, {
      display: this.isSeen ? "block" : "none",
      width,
      height,
      boxShadow: this.asking && matchMedia(SMALL).matches ? DIM : LOOK.boxShadow,
      borderRadius: this.view === "minimised" ? "26px" : "14px",
    });
  }
}
