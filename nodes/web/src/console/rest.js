// How long a console does not build what a page sends, after something that took long: the agent's window stands still
// while it builds, and a page could have it do nothing else. Pure.

const HEAVY_MS = 3_000;
const MOST_MS = 10_000; // what took longer was not only ours: the machine slept, or had other work
const TIMES = 3; // so the window stands still for a quarter of the time at most

export class Rest {
  constructor() {
    /** Until when it rests, in milliseconds of the clock that it is given. */
    this.until = 0;
  }

  /** Something has taken so long. */
  spent(ms, now) {
    if (ms >= HEAVY_MS) this.until = now + TIMES * Math.min(ms, MOST_MS);
  }

  /** How many milliseconds of rest are left; 0: none. */
  left(now) {
    return Math.max(0, this.until - now);
  }
}
