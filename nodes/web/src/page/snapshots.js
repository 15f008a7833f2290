// When snapshots of the whole page are taken: at once if the last one is old enough, else as soon as it is. None that was
// asked for is left out, since it may be asked for only once. Pure but for what it is given; times are in milliseconds.

const REST_MS = 250; // an agent that lost track asks again and again; marks may change again and again

export class Snapshots {
  /** take(): take one now · now() · after(ms, fun) -> cancel() */
  constructor({ take, now, after }) {
    Object.assign(this, { take, now, after });
    /** When the last one was taken. */
    this.tookAt = -Infinity;
    /** What ends the wait for the next one; null while none waits. */
    this.cancel = null;
  }

  /** One is wanted. `later`: not before the caller has returned. */
  want({ later = false } = {}) {
    if (this.cancel) return;
    const rest_ms = Math.max(0, this.tookAt + REST_MS - this.now());
    if (rest_ms === 0 && !later) return void this.take();
    this.cancel = this.after(rest_ms, () => {
      this.cancel = null;
      this.take();
    });
  }

  /** One was taken, for whatever reason: it serves all who wait. */
  taken() {
    this.end();
    this.tookAt = this.now();
  }

  end() {
    this.cancel?.();
    this.cancel = null;
  }
}
