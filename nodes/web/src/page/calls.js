// Callbacks of the page. They are called one at a time, in order. One that throws is reported and harms no other. Pure.

export class Calls {
  constructor(report) {
    this.report = report;
    /** Calls that wait for their turn. */
    this.waiting = [];
    /** Whether `run` is at work; then it also takes what is added meanwhile. */
    this.calling = false;
  }

  add(fun, ...args) {
    this.waiting.push(() => fun(...args));
  }

  /** Call what waits. A callback that leads here again returns at once: the outer `run` goes on. */
  run() {
    if (this.calling) return;
    this.calling = true;
    try {
      while (this.waiting.length) {
        try {
          this.waiting.shift()();
        } catch (error) {
          this.report(error);
        }
      }
    } finally {
      this.calling = false;
    }
  }
}
