// When a browser opens its next WebSocket: the rule of the close code, a back-off, jitter. Pure. Frame and console
// share it.

import { CLOSE_CODES } from "./close_codes.js";

const FIRST_S = 0.5;
const LONGEST_S = 15;
const LOST = { name: "lost", reconnect: "back_off", least_s: 0 };

/** The rule of a close code: {name, reconnect, least_s}. A code that is not in the table means a lost connection. */
export function ruleOf(code) {
  return CLOSE_CODES[code] ?? LOST;
}

export class BackOff {
  /** random(): a number in [0, 1), for the jitter */
  constructor(random) {
    this.random = random;
    /** The next wait in seconds, before the jitter. Doubled by each wait, up to LONGEST_S; `restart` sets it back. */
    this.next_s = FIRST_S;
  }

  /** Seconds to wait now: from half of the next wait to all of it, but not less than `least_s`. */
  wait(least_s = 0) {
    const wait_s = this.next_s * (0.5 + this.random() / 2);
    this.next_s = Math.min(LONGEST_S, this.next_s * 2);
    return Math.max(wait_s, least_s);
  }

  /** The connection has proved good. */
  restart() {
    this.next_s = FIRST_S;
  }
}
