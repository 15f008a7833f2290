// Whether an agent views this page, or asks to, as a table: when page updates may leave, and in which epoch. Pure.
// `handle(input)` returns what page.js has to do, in order.
//
//   idle      nobody views the page, or asks
//   asked     an agent asks, in `epoch`: nothing leaves, nothing is recorded
//   viewed    an agent does: updates leave, in `epoch`
//   paused    an agent did, and the gateway that the frame has reached now does not know of it: nothing leaves
//   doubted   a start or a request came while a stop was under way, and that stop may end this very one: nothing leaves,
//             nothing is told
//
// Inputs, and the events that they are, seen from what is held:
//
//   {t: "ask", payload, retained}     the gateway says that an agent asks, in payload.epoch: `ask`; `doubtful_ask` while a
//                                     stop is under way; `again` if it is the request that is held; `late`, if that epoch
//                                     is over, or was allowed
//   {t: "decline", epoch}             the page's visitor declines the request of this epoch: `decline`, also when it was
//                                     allowed meanwhile; `late` if this epoch is not the one that is held
//   {t: "start", payload, retained}   the gateway says that a session began, in payload.epoch: `start`;
//                                     `allowed` if it was asked for; `doubtful_start` while a stop is under way;
//                                     `again`, if it is the one that is held; `late`, if that epoch is over
//   {t: "over", epoch, reason}        the gateway says that sessions and requests up to this epoch have ended: `over`, or
//                                     `late` if the one that is held is newer
//   {t: "stop", id, done}             the page stops: `stop`. `done` comes back as it is, in `resolve`
//   {t: "acknowledged", id}           no agent handles an update of what stop `id` ended: `one_acknowledged`,
//                                     `all_acknowledged`, or `ask_stands` where a request is held; `late` for an id
//                                     that waits no more
//   {t: "welcome", epoch, asked}      a gateway has this page session, and knows of a session in `epoch`, or null, and of
//                                     a request in `asked`, or null: `known` if it is the one that is held, else `unknown`
//   {t: "code"}                       there is a contact code, and codes are for pages that nobody views or asks: `code`
//   {t: "session"}                    the page session is another one, whose epochs begin again: `session`
//
// A pair that is not in the table changes nothing, and is counted. The table does not hold `ended` and `stops`; see
// there. The rules are those of nodes/rules/cobrowse.py: tests/page_vectors.json, made by it, is played here.

/** state -> event -> [next state, what to do, …] */
export const TRANSITIONS = {
  idle: {
    ask: ["asked", "tell_ask"],
    doubtful_ask: ["doubted"],
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
  asked: {
    ask: ["asked", "tell_declined", "tell_ask"],
    again: ["asked"],
    allowed: ["viewed", "tell_start", "record"],
    start: ["viewed", "tell_declined", "tell_start", "record"],
    over: ["idle", "tell_declined"],
    decline: ["idle", "tell_declined"],
    stop: ["idle", "halt", "tell_declined"],
    known: ["asked"],
    unknown: ["asked"], // that gateway will hear of it, or say that there is a code
    code: ["idle", "tell_declined"],
    session: ["idle", "tell_declined"],
  },
  viewed: {
    ask: ["asked", "halt", "tell_stop", "tell_ask"],
    start: ["viewed", "halt", "tell_stop", "tell_start", "record"],
    again: ["viewed"],
    over: ["idle", "halt", "tell_stop"],
    decline: ["idle", "halt", "tell_stop"],
    stop: ["idle", "halt", "tell_stop"],
    known: ["viewed", "snapshot"], // what was recorded while there was no gateway is lost
    unknown: ["paused", "halt"],
    session: ["idle", "halt", "tell_stop"],
  },
  paused: {
    ask: ["asked", "tell_stop", "tell_ask"],
    start: ["viewed", "tell_stop", "tell_start", "record"],
    again: ["viewed", "record"],
    over: ["idle", "tell_stop"],
    decline: ["idle", "tell_stop"],
    stop: ["idle", "halt", "tell_stop"],
    known: ["viewed", "record"],
    unknown: ["paused"],
    code: ["idle", "tell_stop"],
    session: ["idle", "tell_stop"],
  },
  doubted: {
    doubtful_ask: ["doubted"],
    doubtful_start: ["doubted"],
    again: ["doubted"],
    over: ["idle"],
    decline: ["idle"],
    stop: ["idle", "halt"],
    one_acknowledged: ["doubted"],
    ask_stands: ["asked", "tell_ask"],
    all_acknowledged: ["viewed", "tell_start", "record"],
    known: ["doubted"],
    unknown: ["idle"],
    session: ["idle"],
  },
};

const BEGINS = new Set(["ask", "doubtful_ask", "allowed", "start", "doubtful_start"]);
// What was held till then is over, but for a request that was allowed: that goes on in the same epoch.
const ENDS = new Set([...BEGINS, "over", "decline", "stop", "code"]);
const DECLINES = new Set(["decline", "stop"]);
const NEVER = -1;

export class Viewing {
  constructor() {
    /** A key of TRANSITIONS. `handle` alone changes this field and the others. */
    this.state = "idle";
    /** The start or the request that is held, {t, payload, retained}; null exactly in `idle`. Its epoch is above `ended`;
     *  in `asked` it is a request, in `doubted` either, else a start. */
    this.begun = null;
    /** All epochs up to this one are over, in this page session. It only grows, until there is another session. */
    this.ended = NEVER;
    /** Stops that are not acknowledged: id -> `done`. Empty in `asked`, `viewed` and `paused`. */
    this.stops = new Map();
    /** Inputs that changed nothing, as the table does not have them. */
    this.ignored = 0;
  }

  /** The epoch of the session or the request that is held; null in `idle`. */
  get epoch() {
    return this.begun ? this.begun.payload.epoch : null;
  }

  /** The epoch in which updates may leave now, or null. */
  get running() {
    return this.state === "viewed" ? this.epoch : null;
  }

  /** The request that waits for an answer, {payload, retained}, or null. */
  get request() {
    return this.state === "asked" ? this.begun : null;
  }

  /** Return what is to be done: {do, …}, in order.
   *
   *  record (epoch) · halt, the recorder · snapshot · tell_ask and tell_start (payload, retained), tell_declined (payload)
   *  and tell_stop (epoch), the page's subscribers · resolve (done, ok): a stop is acknowledged, or, if not `ok`, never
   *  will be
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
    const { begun: held, epoch: before } = this;
    const past = input.payload && input.payload.epoch === before ? null : before;
    if (ENDS.has(event)) this.ended = Math.max(this.ended, past ?? NEVER, input.t === "over" ? input.epoch : NEVER);
    if (BEGINS.has(event)) this.begun = { t: input.t, payload: input.payload, retained: input.retained === true };
    if (next === "idle") this.begun = null;
    this.state = next;
    const reason = DECLINES.has(event) ? "declined" : (input.reason ?? "unknown");
    return [...wanted.map((name) => this.effect(name, held, reason)), ...resolved];
  }

  eventOf(input) {
    const { epoch } = this;
    switch (input.t) {
      case "ask":
        if (input.payload.epoch === epoch) return this.begun.t === "ask" ? "again" : "late";
        if (input.payload.epoch <= Math.max(this.ended, epoch ?? NEVER)) return "late";
        return this.stops.size ? "doubtful_ask" : "ask";
      case "decline":
        return epoch !== null && input.epoch === epoch ? "decline" : "late";
      case "start":
        if (input.payload.epoch === epoch && this.begun.t === "start") return "again";
        if (input.payload.epoch === epoch) return this.stops.size ? "doubtful_start" : "allowed";
        if (input.payload.epoch <= Math.max(this.ended, epoch ?? NEVER)) return "late";
        return this.stops.size ? "doubtful_start" : "start";
      case "over":
        return epoch === null || input.epoch >= epoch ? "over" : "late";
      case "acknowledged":
        if (!this.stops.has(input.id)) return "late";
        if (this.stops.size > 1) return "one_acknowledged";
        return this.begun?.t === "ask" ? "ask_stands" : "all_acknowledged";
      case "welcome": {
        const known = [input.epoch, this.begun?.t === "ask" ? input.asked : null];
        return epoch !== null && known.includes(epoch) ? "known" : "unknown";
      }
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

  effect(name, held, reason) {
    if (name === "tell_stop") return { do: name, epoch: held.payload.epoch };
    if (name === "tell_declined") {
      const { epoch, agent, capability } = held.payload;
      return { do: name, payload: { epoch, agent, capability, reason } };
    }
    if (name === "tell_start" || name === "tell_ask") {
      return { do: name, payload: this.begun.payload, retained: this.begun.retained };
    }
    if (name === "record") return { do: name, epoch: this.epoch };
    return { do: name };
  }
}
