// Callbacks of the page: called one at a time, in order; one that throws is reported and harms no other. Pure.

export class Calls {
  constructor(report) {
    this.report = report;
    this.waiting = [];
    this.calling = false;
  }

  add(fun, ...args) {
    this.waiting.push(() => fun(...args));
  }

  /** Call what waits; whoever is at it takes over what comes meanwhile. */
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
