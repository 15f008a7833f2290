// Events that wait to be sent together. Pure; times are arguments, in milliseconds. Of a field that waits only the newest
// input is kept, since each tells all that the field holds; and a long text is told as often as its length allows.

const TOGETHER_MS = 40; // events go together that happen within this time
const LONG = 4096; // characters
const CHARACTERS_PER_MS = 50; // of a long text: 50 kB a second of each field
const INPUT = 5;

export class Waiting {
  constructor() {
    /** Events in order: key -> {event, due}. The key of an input is its field's, so that a newer one takes its place. */
    this.held = new Map();
    /** Makes keys of the others; it only grows. */
    this.count = 0;
    /** When the long text of a field was taken last: id -> time. */
    this.toldAt = new Map();
  }

  add(event, now) {
    const { source, id, text } = event.data;
    const isInput = source === INPUT;
    const key = isInput ? `field ${id}` : (this.count += 1);
    const before = this.held.get(key);
    this.held.delete(key); // so that it is the last one again
    const rest = isInput && text.length > LONG ? (this.toldAt.get(id) ?? -Infinity) + text.length / CHARACTERS_PER_MS : 0;
    this.held.set(key, { event, due: Math.max(before?.due ?? now + TOGETHER_MS, rest) });
  }

  /** When the next event is due; null if none waits. */
  get due() {
    if (!this.held.size) return null;
    return Math.min(...[...this.held.values()].map(({ due }) => due));
  }

  /** Take all events but the long ones that are not due. */
  take(now) {
    const taken = [];
    for (const [key, { event, due }] of this.held) {
      const isLong = event.data.source === INPUT && event.data.text.length > LONG;
      if (isLong && due > now) continue;
      this.held.delete(key);
      taken.push(event);
      if (isLong) this.toldAt.set(event.data.id, now);
    }
    return taken;
  }

  /** A snapshot is newer than all of these. */
  clear() {
    this.held.clear();
  }
}
