// The visitor's page on the agent's screen: one at a time, scaled to fit. The replay is loaded when it is needed.

import { unpacked } from "../shared/packing.js";
import { Rest } from "./rest.js";

const ASK_MS = 3_000; // so often a snapshot is asked for that does not come
const TOO_LARGE = "This page is too large to be shown whole.";
const TOO_HEAVY = "This page is so heavy that its picture is refreshed less often.";
const MAX_EVENTS = 5_000; // the replay keeps every event since a snapshot: then a fresh one is asked for

export class Stage {
  /** told: onMeta(session, {href, width, height}), shown(session): a snapshot is on the screen, long(session): a fresh one
   *  is wanted, report(words) */
  constructor(root, told) {
    Object.assign(this, { root, told });
    /** The page session that is shown; null while nothing is. */
    this.session = null;
    /** A promise that all updates up to now have been shown: unpacking takes time, and they have an order. */
    this.last = Promise.resolve();
    /** Goes up with each `end`: what waited for its turn is not shown then. */
    this.turn = 0;
    /** {show(events, snapshot), end()} of replay.js; null while nothing is shown. */
    this.replay = null;
    /** Whether a picture of the page is on the screen. */
    this.isShown = false;
    /** Events since the last snapshot, at most MAX_EVENTS. */
    this.count = 0;
    /** When what a page sends may be built again, if it took long. */
    this.rest = new Rest();
    /** Whether something was left out: nothing is shown then before a snapshot. */
    this.isBehind = false;
    /** The timer that asks for that; null while none runs. */
    this.asking = null;
    /** {width, height} of the visitor's window, in pixels; null while nothing is shown. */
    this.size = null;
    /** A promise of the module replay.js; null until it is needed, and after it could not be loaded. */
    this.loading = null;
    new ResizeObserver(() => this.fit()).observe(root);
  }

  /** Show a page update of `session`, see shared/packing.js; of another session than before: from its snapshot on. */
  show(session, event, snapshot) {
    if (session !== this.session) {
      if (!snapshot) return;
      this.end();
      this.session = session;
    }
    this.loading ??= import("/assets/replay.js").catch(() => {
      this.loading = null;
      this.told.report("The replay is not built; scripts/build-web does that.");
    });
    const { turn } = this;
    const text = unpacked(event).catch(() => this.unfit());
    this.last = this.last.then(async () => this.play(session, turn, await this.loading, await text, snapshot));
  }

  play(session, turn, replayer, text, snapshot) {
    if (!replayer || turn !== this.turn || text === undefined || (this.isBehind && !snapshot)) return;
    if (this.rest.left(performance.now())) return this.wait(session);
    this.isBehind = false;
    this.replay ??= replayer.stage(this.root, {
      onMeta: (meta) => {
        this.size = meta;
        this.fit();
        this.told.onMeta(session, meta);
      },
      shown: () => {
        this.isShown = true;
        this.told.shown(session);
      },
      lost: () => {
        this.isShown = false;
        this.told.long(session);
      },
      cut: (isSnapshot) => (isSnapshot ? this.told.report(TOO_LARGE) : this.wait(session)), // a fresh one may fit
      took: (ms) => turn === this.turn && this.rest.spent(ms, performance.now()),
    });
    try {
      const events = JSON.parse(text);
      if (!Array.isArray(events)) throw new Error("expected a list of events");
      this.replay.show(events, snapshot);
      this.count = snapshot ? 0 : this.count + events.length;
    } catch {
      this.unfit();
    }
    if (this.count > MAX_EVENTS) {
      this.count = 0;
      this.told.long(session);
    }
    return undefined;
  }

  /** What came is left out. A fresh snapshot is asked for when this window has had time for the agent again, and again
   *  until one is shown. */
  wait(session) {
    if (!this.isBehind) this.told.report(TOO_HEAVY);
    this.isBehind = true;
    this.asking ??= setTimeout(() => this.askAgain(session), Math.max(ASK_MS, this.rest.left(performance.now())));
  }

  askAgain(session) {
    this.asking = null;
    if (session !== this.session || !this.isBehind) return;
    if (!this.rest.left(performance.now())) this.told.long(session);
    this.wait(session);
  }

  unfit() {
    this.told.report("What this page sends cannot be shown at present.");
  }

  /** End what is shown of `session`, by default what is shown now. After it, nothing of it is on the screen. */
  end(session = this.session) {
    if (session !== this.session) return;
    this.session = null;
    this.turn += 1;
    this.replay?.end();
    this.replay = this.size = null;
    this.isShown = this.isBehind = false;
    this.rest = new Rest();
    clearTimeout(this.asking);
    this.asking = null;
  }

  fit() {
    if (!this.size) return;
    const { clientWidth, clientHeight } = this.root;
    const { width, height } = this.size;
    const scale = Math.min(clientWidth / width, clientHeight / height, 1);
    this.root.style.setProperty("--scale", String(scale));
    this.root.style.setProperty("--left", `${Math.max(0, (clientWidth - width * scale) / 2)}px`);
  }
}
