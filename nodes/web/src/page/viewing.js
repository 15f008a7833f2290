// Whether an agent views this page, as a table: when page updates may leave, and in which epoch. Pure. `handle(input)`
// returns what page.js has to do, in order.
//
//   idle      nobody views the page
//   viewed    an agent does: updates leave, in `epoch`
//   paused    an agent did, and the gateway that the frame has reached now does not know of it: nothing leaves
//   doubted   a start came while a stop was under way, and that stop may end this very session: nothing leaves
//
// Inputs, and the events that they are, seen from what is held:
//
//   {t: "start", payload, retained}   the gateway says that a session began, in payload.epoch: `start`;
//                                     `doubtful_start` while a stop is under way; `again`, if it is the one that is
//                                     held; `late`, if that epoch is over
//   {t: "over", epoch}                the gateway says that sessions up to this epoch have ended: `over`, or `late` if
//                                     the one that is held is newer
//   {t: "stop", id, done}             the page stops: `stop`. `done` comes back as it is, in `resolve`
//   {t: "acknowledged", id}           no agent handles an update of what stop `id` ended: `one_acknowledged`,
//                                     `all_acknowledged`, or `late` for an id that waits no more
//   {t: "welcome", epoch}             a gateway has this page session, and knows of a session in `epoch`, or null:
//                                     `known` if it is the one that is held, else `unknown`
//   {t: "code"}                       there is a contact code, and codes are for pages that nobody views: `code`
//   {t: "session"}                    the page session is another one, whose epochs begin again: `session`
//
// A pair that is not in the table changes nothing, and is counted. The table does not hold `ended` and `stops`; see
// there. The rules are those of nodes/rules/cobrowse.py: tests/page_vectors.json, made by it, is played here.

/** state -> event -> [next state, what to do, …] */
export const TRANSITIONS = {
  idle: {
    start: ["viewed", "tell_start", "record"],
    doubtful_start: ["doubted"],
    over: ["idle"],
    stop: ["idle", "halt"],
    one_acknowledged: ["idle"],
    all_acknowledged: ["idle"],
    unknown: ["idle"],
    code: ["idle"],
    session: ["idle"],
  },
  viewed: {
    start: ["viewed", "halt", "tell_stop", "tell_start", "record"],
    again: ["viewed"],
    over: ["idle", "halt", "tell_stop"],
    stop: ["idle", "halt", "tell_stop"],
    known: ["viewed", "snapshot"], // what was recorded while there was no gateway is lost
    unknown: ["paused", "halt"],
    session: ["idle", "halt", "tell_stop"],
  },
  paused: {
    start: ["viewed", "tell_stop", "tell_start", "record"],
    again: ["viewed", "record"],
    over: ["idle", "tell_stop"],
    stop: ["idle", "halt", "tell_stop"],
    known: ["viewed", "record"],
    unknown: ["paused"],
    code: ["idle", "tell_stop"],
    session: ["idle", "tell_stop"],
  },
  doubted: {
    doubtful_start: ["doubted"],
    again: ["doubted"],
    over: ["idle"],
    stop: ["idle", "halt"],
    one_acknowledged: ["doubted"],
    all_acknowledged: ["viewed", "tell_start", "record"],
    known: ["doubted"],
    unknown: ["idle"],
    session: ["idle"],
  },
};

const BEGINS = new Set(["start", "doubtful_start"]);
const ENDS = new Set([...BEGINS, "over", "stop", "code"]); // the session that was held till then is over
const NEVER = -1;

export class Viewing {
  constructor() {
    /** A key of TRANSITIONS. `handle` alone changes this field and the others. */
    this.state = "idle";
    /** The start that is held, {payload, retained}; null exactly in `idle`. Its epoch is above `ended`. */
    this.begun = null;
    /** All epochs up to this one are over, in this page session. It only grows, until there is another session. */
    this.ended = NEVER;
    /** Stops that are not acknowledged: id -> `done`. Empty in `viewed` and `paused`. */
    this.stops = new Map();
    /** Inputs that changed nothing, as the table does not have them. */
    this.ignored = 0;
  }

  /** The epoch of the session that is held; null in `idle`. */
  get epoch() {
    return this.begun ? this.begun.payload.epoch : null;
  }

  /** The epoch in which updates may leave now, or null. */
  get running() {
    return this.state === "viewed" ? this.epoch : null;
  }

  /** Return what is to be done: {do, …}, in order.
   *
   *  record (epoch) · halt, the recorder · snapshot · tell_start (payload, retained) and tell_stop (epoch), the page's
   *  subscribers · resolve (done, ok): a stop is acknowledged, or, if not `ok`, never will be
   */
  handle(input) {
    const event = this.eventOf(input);
    const found = TRANSITIONS[this.state][event];
    if (!found) {
      this.ignored += 1;
      return [];
    }
    const [next, ...wanted] = found;
    const resolved = this.count(input);
    const before = this.epoch;
    if (ENDS.has(event)) this.ended = Math.max(this.ended, before ?? NEVER, input.t === "over" ? input.epoch : NEVER);
    if (BEGINS.has(event)) this.begun = { payload: input.payload, retained: input.retained === true };
    if (next === "idle") this.begun = null;
    this.state = next;
    return [...wanted.map((name) => this.effect(name, before)), ...resolved];
  }

  eventOf(input) {
    const { epoch } = this;
    switch (input.t) {
      case "start":
        if (input.payload.epoch === epoch) return "again";
        if (input.payload.epoch <= Math.max(this.ended, epoch ?? NEVER)) return "late";
        return this.stops.size ? "doubtful_start" : "start";
      case "over":
        return epoch === null || input.epoch >= epoch ? "over" : "late";
      case "acknowledged":
        if (!this.stops.has(input.id)) return "late";
        return this.stops.size > 1 ? "one_acknowledged" : "all_acknowledged";
      case "welcome":
        return epoch !== null && input.epoch === epoch ? "known" : "unknown";
      default:
        return input.t;
    }
  }

  /** Keep `stops`; return which of them are resolved. */
  count({ t, id, done }) {
    const resolved = [];
    if (t === "stop") {
      this.stops.set(id, done);
    } else if (t === "acknowledged") {
      resolved.push({ do: "resolve", done: this.stops.get(id), ok: true });
      this.stops.delete(id);
    } else if (t === "session") {
      for (const each of this.stops.values()) resolved.push({ do: "resolve", done: each, ok: false });
      this.stops.clear();
      this.ended = NEVER;
    }
    return resolved;
  }

  effect(name, before) {
    if (name === "tell_stop") return { do: name, epoch: before };
    if (name === "tell_start") return { do: name, ...this.begun };
    if (name === "record") return { do: name, epoch: this.epoch };
    return { do: name };
  }
}
