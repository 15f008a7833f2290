// The recorder on the page. It comes when a session starts, and goes when it stops: a stop ends it before anything else
// happens. What is in its way is said in words; it tries again when it may work.

import { Pace } from "./pace.js";

const AGAIN_MS = 10_000; // so long after it could not be shown a page is tried again, as its agent asks; then twice as long, …
const LONGEST_MS = 160_000;
const TOO_FAST = "Paused: the page changes faster than can be sent.";
const TOO_LARGE = new Set(["update", "size"]); // what the frame and the gateway call an update that is too large
const TOO_MUCH = new Set(["rate", "bytes"]); // and what they call more than may be sent

export class Recording {
  /** script(): an element that loads the recorder; it throws where the page forbids that · send(event, snapshot)
   *  hindered(why), until free(why): nothing can be shown · failed(why): the site is to know of it
   *  sign(Sign): the visitor's sign is to be shown, before anything is recorded
   *  typing(isShown): whether the agent sees something of what is typed · report(error): the recorder threw · privacy: what the recorder judges by, see recorder.js */
  constructor(told) {
    Object.assign(this, told);
    /** The epoch that is recorded; null while nothing is. */
    this.epoch = null;
    /** The element that loads the recorder; null while nothing is recorded. */
    this.element = null;
    /** {stop(), snapshot()}; null until it is loaded, and while nothing is recorded. */
    this.recorder = null;
    /** Why the page could not be shown, and when it is tried again: {why, until}; null while that is not known. */
    this.failure = null;
    /** How long it rests after the next failure; it grows with each one of a session. */
    this.again_ms = AGAIN_MS;
    /** The session, by its epoch, that `again_ms` is of. */
    this.last = null;
    this.pace = new Pace();
  }

  start(epoch) {
    this.end();
    if (epoch !== this.last) this.again_ms = AGAIN_MS;
    this.epoch = this.last = epoch;
    this.failure = null;
    try {
      this.element = this.script();
    } catch (error) {
      this.fail(`the page does not let the recorder load: ${error.message}`);
      return;
    }
    const { element } = this;
    element.onload = () => this.loaded(element);
    element.onerror = () => element === this.element && this.fail("the recorder cannot be loaded, or may not");
    (document.head ?? document.documentElement).append(element);
  }

  loaded(element) {
    const record = window.site_connect_recorder;
    delete window.site_connect_recorder;
    if (this.element !== element || !record) return; // stopped, or begun afresh, before it was there
    this.sign(record.Sign);
    const send = (events, snapshot) => {
      if (this.element === element) this.send(events, snapshot);
    };
    const failed = (why) => this.element === element && this.fail(why);
    const told = { report: this.report, failed, typing: this.typing };
    const recorder = record(send, told, this.privacy);
    if (this.element === element) this.recorder = recorder;
    else recorder.stop(); // it has failed at once
  }

  /** The agent wants a snapshot of the whole page. Before the recorder is there this does nothing: it begins with one. */
  snapshot() {
    this.recorder?.snapshot();
    if (this.failure && performance.now() >= this.failure.until) this.free(this.failure.why);
  }

  /** The frame or the gateway has refused something, and what was sent since is lost: until a snapshot nothing leaves.
   *  Return whether the site hears of it by `failed`, or has heard: of some updates on their way each is refused. */
  refused(what) {
    if (this.epoch === null) return what === "update";
    const isTooLarge = TOO_LARGE.has(what);
    if (isTooLarge) this.fail("it is too large to be sent");
    if (TOO_MUCH.has(what)) {
      setTimeout(() => this.free(TOO_FAST), this.pace.refused(performance.now()));
      this.hindered(TOO_FAST);
    }
    return isTooLarge;
  }

  fail(why) {
    const words = `This page cannot be shown: ${why}.`;
    this.failed(why);
    this.failure = { why: words, until: performance.now() + this.again_ms };
    this.again_ms = Math.min(LONGEST_MS, this.again_ms * 2);
    this.hindered(words);
  }

  end() {
    const { recorder } = this;
    this.epoch = this.recorder = null;
    recorder?.stop();
    this.element?.remove();
    this.element = null;
  }
}
