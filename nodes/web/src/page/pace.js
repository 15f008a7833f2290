// How long a page rests whose changes were more than may be sent. Pure; times are arguments, in milliseconds. The rest is
// longer each time it was not long enough.

const FIRST_MS = 3_000; // the gateway's bucket fills at 1 MB a second
const LONGEST_MS = 30_000;
const CALM_MS = 10_000; // a page that was sent for so long after a rest has recovered

export class Pace {
  constructor() {
    /** The next rest. */
    this.rest_ms = FIRST_MS;
    /** When the last rest is, or was, over. */
    this.restedAt = -Infinity;
  }

  /** An update was refused. Return how long to rest. */
  refused(now) {
    const isCalm = now - this.restedAt > CALM_MS;
    const rest_ms = isCalm ? FIRST_MS : this.rest_ms;
    this.rest_ms = Math.min(LONGEST_MS, rest_ms * 2);
    this.restedAt = now + rest_ms;
    return rest_ms;
  }
}
