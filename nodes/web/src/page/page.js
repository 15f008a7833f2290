// One page: its broker, what it may publish, its co-browsing. Pure: what it wants done goes through `out`, and what the
// frame says comes in by `fromFrame`. The rules are those of nodes/page/page_core.py; the state machines behind them run in the
// gateway. Reading order: the four calls; `fromFrame`; `started` and `stopped`.
//
//   out.frame(message)         tell the frame; kept in order until there is one
//   out.wantFrame()            the page needs its frame now, however it was to be loaded
//   out.view(view)             the frame is to be "shown", "minimised" or "hidden"
//   out.record(epoch) / out.stopRecording() / out.snapshot() / out.rest(): no snapshot for a while, it is too large
//   out.later(fun)             call it soon, after the caller has returned
//   out.report(error)          a callback threw

import { Broker } from "./broker.js";
import { Calls } from "./calls.js";
import { DECIDED, HERE, LOAD_FRAME, SNAPSHOT_REQUEST, STARTED, STOPPED, UPDATE, VIEWS } from "./names.js";
import { matches, problem, scope, shown, validateFilter, validateTopic } from "./topics.js";

const REFUSED = `${HERE}refused`;
const TOO_LARGE = new Set(["update", "size"]); // what the frame and the gateway call an update that is too large
const LOCAL_ACK = { ok: true, covered: [], missing: [], elapsed_s: 0, error: null };

export class Page {
  constructor(out, firstId = 1) {
    this.out = out;
    this.broker = new Broker(firstId);
    this.ackFuns = new Map();
    this.stops = new Map(); // id -> what resolves its promise
    this.retained = []; // what a late subscriber is told: {topic, payload}
    this.calls = new Calls(out.report);
    this.session = null;
    this.epoch = null; // of the co-browsing that runs
    this.paused = null; // the epoch of one that the gateway does not know at present
    this.endedEpoch = -1; // all up to this one are over
    this.held = null; // a start that came while a stop of unknown epoch was under way
    this.updates = 0;
    this.lastStop = 0;
  }

  // ── the calls ──────────────────────────────────────────────────────────────────────────────────────────────────

  subscribe(filter, msgFun, ackFun, id) {
    validateFilter(filter);
    const kind = scope(filter);
    if (typeof msgFun !== "function") throw problem("TypeError", `msg_fun is ${shown(msgFun)}, but must be a function`);
    const given = this.broker.subscribe(filter, msgFun, id);
    if (ackFun && kind === "local") this.calls.add(ackFun, { ...LOCAL_ACK });
    else if (ackFun) this.ackFuns.set(given, ackFun);
    if (kind !== "local") this.out.frame({ t: "subscribe", id: given, filter });
    const one = [this.broker.subscriptions.get(given)];
    for (const { topic, payload } of this.retained) {
      if (matches(filter, topic)) this.hand(one, { topic, payload, retained: true });
    }
    this.out.later(() => this.calls.run()); // not before the caller has the id
    return given;
  }

  unsubscribe(id) {
    const filter = this.broker.unsubscribe(id);
    this.ackFuns.delete(id);
    if (scope(filter) !== "local") this.out.frame({ t: "unsubscribe", id });
  }

  publish(topic, msg = null) {
    validateTopic(topic);
    const kind = scope(topic);
    if (kind === "system") throw problem("ScopeError", `${shown(topic)}: topics with $ belong to the fabric`);
    if (DECIDED.has(topic)) throw problem("ScopeError", `${shown(topic)} is told by the frame; nobody publishes it`);
    if (kind === "local") {
      if (topic === LOAD_FRAME) this.out.wantFrame();
      this.deliver({ topic, payload: msg });
      return this.calls.run();
    }
    const payload = plain(topic, msg);
    if (topic in VIEWS) this.out.wantFrame();
    this.out.frame({ t: "publish", topic, payload });
    if (kind === "pagesession") this.deliver({ topic, payload });
    if (topic in VIEWS) this.out.view(VIEWS[topic]);
    return this.calls.run();
  }

  /** Stop co-browsing: when this returns, no update leaves any more. Resolves once no agent handles one any more. */
  stopSession() {
    this.out.stopRecording();
    const id = (this.lastStop += 1);
    const over = new Promise((resolve) => this.stops.set(id, resolve));
    this.out.frame({ t: "stop", id });
    const running = this.epoch ?? this.paused;
    if (running !== null) this.stopped(running);
    this.calls.run();
    return over;
  }

  /** After `~/site_connect/error`: ask for a code again. */
  retry() {
    this.out.frame({ t: "retry" });
  }

  /** The subscriptions that reach beyond the page: {id, filter}. */
  beyond() {
    const held = [...this.broker.subscriptions.values()].filter(({ filter }) => scope(filter) !== "local");
    return held.map(({ id, filter }) => ({ id, filter }));
  }

  /** A page update, an opaque text; false when no co-browsing runs. */
  sendUpdate(event, snapshot) {
    if (this.epoch === null) return false;
    const { epoch } = this;
    this.updates += 1;
    this.out.frame({ t: "update", epoch, event, snapshot });
    this.deliver({ topic: UPDATE, payload: { epoch, n: this.updates, event, snapshot } });
    this.calls.run();
    return true;
  }

  // ── what the frame says ────────────────────────────────────────────────────────────────────────────────────────

  fromFrame(said) {
    if (said.t === "site") this.told(named(said));
    else if (said.t === "message") this.received(said);
    else if (said.t === "ack") this.acked(said);
    else if (said.t === "retained") this.retained = said.messages.map(named);
    else if (said.t === "welcome") this.welcomed(said);
    else if (said.t === "stopped") this.acknowledged(said.id);
    else if (said.t === "snapshot") this.out.snapshot();
    else if (said.t === "view") this.out.view(said.view);
    else if (said.t === "act" && isBeyond(said.topic)) this.publish(said.topic, said.payload); // in the frame
    else if (said.t === "stop") this.stopSession();
    this.calls.run();
  }

  told(message) {
    if (this.paused !== null && message.payload.code) this.stopped(this.paused); // codes are for pages that nobody sees
    if (message.topic === REFUSED && TOO_LARGE.has(message.payload.what)) this.out.rest();
    this.deliver(message);
  }

  received(said) {
    const { topic, payload } = said;
    if (!isBeyond(topic)) return undefined;
    if (said.ids) return this.hand(said.ids.map((id) => this.broker.subscriptions.get(id)).filter(Boolean), said);
    if (topic === STARTED) return this.started(payload);
    if (topic === STOPPED) return this.stopped(payload.epoch);
    if (topic === SNAPSHOT_REQUEST && this.epoch !== null) this.out.snapshot();
    if (topic in VIEWS) this.out.view(VIEWS[topic]);
    return this.deliver(said);
  }

  acked({ id, ok, covered, missing, elapsed_s, error }) {
    const ackFun = this.ackFuns.get(id);
    this.ackFuns.delete(id); // a frame that comes back is acked again; the page is told once
    if (ackFun) this.calls.add(ackFun, { ok, covered, missing, elapsed_s, error });
  }

  /** The frame has its session. `fresh`: what the table says is to be told, as nobody heard of it when it happened. */
  welcomed({ session, retained: typed, fresh }) {
    const retained = typed.map(named);
    if (session !== this.session) this.sessionChanged(session);
    const before = new Set(this.retained.map((each) => JSON.stringify(each)));
    this.retained = retained;
    const start = retained.find((each) => each.topic === STARTED);
    if (this.epoch !== null && start?.payload.epoch !== this.epoch) this.pause();
    else if (this.epoch !== null) this.out.snapshot(); // what was recorded meanwhile was lost
    if (!fresh) return;
    for (const { topic, payload } of retained) {
      if (before.has(JSON.stringify({ topic, payload }))) continue;
      if (topic === STARTED) this.started(payload, true);
      else if (topic === STOPPED) this.endedEpoch = Math.max(this.endedEpoch, payload.epoch);
      else this.deliver({ topic, payload, retained: true });
    }
  }

  /** Another gateway may not know of the co-browsing yet: nothing leaves until it says that it goes on. */
  pause() {
    this.out.stopRecording();
    this.paused = this.epoch;
    this.epoch = null;
  }

  /** Another session: what ran in the one before is over, and its epochs say nothing of this one. */
  sessionChanged(session) {
    const running = this.epoch ?? this.paused;
    if (running !== null) this.stopped(running);
    if (this.session !== null) {
      for (const resolve of this.stops.values()) resolve(false);
      this.stops.clear();
      this.endedEpoch = -1;
    }
    this.held = null;
    this.session = session;
  }

  started(payload, retained = false) {
    if (payload.epoch <= this.endedEpoch || payload.epoch === this.epoch) return;
    if (this.stops.size && this.endedEpoch < 0) {
      this.held = payload; // stopped before anything was known: that stop may mean this very session
      return;
    }
    const goesOn = payload.epoch === this.paused;
    if (!goesOn && this.paused !== null) this.stopped(this.paused);
    this.paused = null;
    this.epoch = payload.epoch;
    if (!goesOn) {
      this.updates = 0;
      this.deliver({ topic: STARTED, payload, retained });
    }
    this.out.record(payload.epoch);
  }

  stopped(epoch) {
    if (this.held && epoch >= this.held.epoch) this.held = null;
    if (epoch <= this.endedEpoch) return;
    this.endedEpoch = epoch;
    if (this.epoch !== null && epoch >= this.epoch) {
      this.out.stopRecording();
      this.epoch = null;
    }
    if (this.paused !== null && epoch >= this.paused) this.paused = null;
    this.retained = this.retained.filter((each) => each.topic !== STARTED);
    this.deliver({ topic: STOPPED, payload: { epoch } });
  }

  acknowledged(id) {
    this.stops.get(id)?.(true);
    this.stops.delete(id);
    const { held } = this;
    this.held = null;
    if (held && !this.stops.size) this.started(held);
  }

  // ── callbacks ──────────────────────────────────────────────────────────────────────────────────────────────────

  deliver(message) {
    this.hand(this.broker.match(message.topic), message);
  }

  hand(subscriptions, { topic, payload, retained = false, number, publisher }) {
    for (const subscription of subscriptions) {
      const message = { topic, payload, retained, number, publisher };
      this.calls.add(() => subscription.active && subscription.handler(message));
    }
  }
}

/** What the frame says by name is published under ~/site_connect/; a topic under ~/ it cannot send. */
function named({ name, topic, payload }) {
  return { topic: name === undefined ? topic : `${HERE}${name}`, payload };
}

function isBeyond(topic) {
  return typeof topic === "string" && scope(topic) !== "local";
}

/** A copy as JSON has it, made at once: what cannot be sent is refused, and later changes of it change nothing. */
function plain(topic, msg) {
  try {
    return JSON.parse(JSON.stringify(msg));
  } catch (error) {
    throw problem("LocalWireError", `${shown(topic)}: the message is no JSON: ${error.message}`);
  }
}
