// The recorder on the page. It comes when a session starts, and goes when it stops: a stop ends it before anything else
// happens.

const REST_MS = 10_000;

export class Recording {
  /** script(): an element that loads the recorder; it throws where the page forbids that · send(event, snapshot)
   *  failed(why) · report(error): the recorder threw · privacy: what the recorder judges by, see recorder.js */
  constructor(told) {
    Object.assign(this, told);
    /** The epoch that is recorded; null while nothing is. */
    this.epoch = null;
    /** No snapshot is made before this time, in milliseconds of performance.now(). */
    this.restsUntil = 0;
    /** The element that loads the recorder; null while nothing is recorded. */
    this.element = null;
    /** {stop(), snapshot()}; null until it is loaded, and while nothing is recorded. */
    this.recorder = null;
  }

  start(epoch) {
    this.end();
    this.epoch = epoch;
    try {
      this.element = this.script();
    } catch (error) {
      this.failed(`the page does not let the recorder load: ${error.message}`);
      return;
    }
    const { element } = this;
    element.onload = () => this.loaded(element);
    element.onerror = () => element === this.element && this.failed("the recorder cannot be loaded, or the page forbids it");
    (document.head ?? document.documentElement).append(element);
  }

  loaded(element) {
    const record = window.site_connect_recorder;
    delete window.site_connect_recorder;
    if (this.element !== element || !record) return; // stopped, or begun afresh, before it was there
    const send = (events, snapshot) => {
      if (this.element === element) this.send(events, snapshot);
    };
    this.recorder = record(send, this.report, this.privacy);
  }

  /** Make a snapshot of the whole page. Before the recorder is there this does nothing: it begins with one. */
  snapshot() {
    if (performance.now() >= this.restsUntil) this.recorder?.snapshot();
  }

  /** A snapshot cannot be sent at present. The agent asks again and again, and making one takes time: so wait. */
  rest() {
    this.restsUntil = performance.now() + REST_MS;
  }

  end() {
    const { recorder } = this;
    this.epoch = this.recorder = null;
    recorder?.stop();
    this.element?.remove();
    this.element = null;
  }
}
