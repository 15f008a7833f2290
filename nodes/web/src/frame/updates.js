// The page updates that leave through the frame: in order, compressed, and never so that the agent's picture would be wrong.
// Once an update was dropped none is sent but a snapshot. Pure but for what it is given.
//
//   packed(text): see shared/packing.js · isOpen(): whether the gateway has welcomed the socket · buffered(): bytes that wait
//   in it · send(message) · after(seconds, fun) · tell(message): `snapshot`, one is wanted · refused(what, why)

import { isShort } from "../shared/packing.js";

const CATCH_UP_S = 0.2; // how often a snapshot is asked for while updates are dropped
const MAX_BUFFERED_BYTES = 4_000_000; // updates beyond it are dropped; a snapshot follows when the socket has caught up
const MAX_HELD_CHARS = 64_000_000; // of what is being compressed
const MAX_EVENT_CHARS = 3_900_000; // compressed, or ASCII: the gateway takes messages of 4 MiB

export class Updates {
  constructor(told) {
    Object.assign(this, told);
    /** The number of the last update that the page has made, sent or dropped; null before the first. */
    this.made = null;
    /** Whether an update was dropped: none is sent then but a snapshot. */
    this.dropped = false;
    /** Goes up when what is being compressed is not to be sent any more. */
    this.turn = 0;
    /** Characters of the updates that are being compressed, or wait behind one that is. */
    this.held = 0;
    /** A promise that all of those have left. */
    this.last = Promise.resolve();
  }

  /** The page has made an update: {t, epoch, n, event, snapshot}. Returns whether it leaves, as far as can be said. */
  add(message) {
    this.made = message.n;
    if (!this.isOpen()) return false; // the welcome is followed by a snapshot
    if (this.dropped && !message.snapshot) return false;
    if (this.buffered() > MAX_BUFFERED_BYTES || this.held > MAX_HELD_CHARS) return this.fallBehind();
    this.dropped = false;
    if (!this.held && isShort(message.event)) return this.send(message);
    const { turn } = this;
    this.held += message.event.length;
    this.last = this.last.then(() => this.pack(message, turn));
    return true;
  }

  /** Nothing that was made before leaves any more: the page has stopped, or the socket is gone. */
  clear() {
    this.turn += 1;
    this.held = 0;
    this.dropped = false;
  }

  async pack(message, turn) {
    if (turn !== this.turn) return;
    const event = await this.packed(message.event);
    if (turn !== this.turn) return;
    this.held -= message.event.length;
    if (this.dropped && !message.snapshot) return;
    if (event === null || isTooLarge(event)) {
      this.drop();
      const [what, why] = message.snapshot ? ["update", "the page is too large"] : ["bytes", "the page changes too fast"];
      this.refused(what, `${why} to be sent, also when it is compressed`);
      return;
    }
    this.send({ ...message, event });
  }

  /** The gateway has dropped an update, or will: nothing leaves until the page makes a snapshot by itself. */
  drop() {
    this.dropped = true;
  }

  fallBehind() {
    this.drop();
    this.after(CATCH_UP_S, () => this.catchUp());
    return false;
  }

  catchUp() {
    if (!this.dropped || !this.isOpen()) return;
    if (this.buffered() === 0 && !this.held) this.tell({ t: "snapshot" });
    this.after(CATCH_UP_S, () => this.catchUp());
  }
}

/** A text that was not compressed takes up to three bytes a character. */
function isTooLarge(event) {
  const isText = typeof event === "string";
  const size = isText ? new TextEncoder().encode(event).length : event.$bin.length;
  return size > MAX_EVENT_CHARS;
}
