// How often the recorder may fail. Pure; times are arguments, in milliseconds. After a fault what the agent sees may lack
// something, and a fresh snapshot makes it good. A page on which the recorder fails again and again cannot be shown.

const MOST = 4;
const WITHIN_MS = 20_000;

export class Faults {
  constructor() {
    /** When the last faults happened, the oldest first; at most MOST. */
    this.times = [];
  }

  /** Count a fault. Return whether a fresh snapshot is worth a try. */
  isBearable(now) {
    this.times = [...this.times, now].slice(-MOST);
    return this.times.length < MOST || now - this.times[0] > WITHIN_MS;
  }
}
