// One page: its broker, what it may publish, its co-browsing. Pure: what it wants done goes through `out`, and what the
// frame says comes in by `fromFrame`. Topics follow the rules of nodes/page/page_core.py; whether an agent views the
// page is decided in viewing.js. Reading order: the four calls; `fromFrame`; `perform`.
//
//   out.frame(message)         tell the frame; kept in order until there is one
//   out.wantFrame()            the page needs its frame now, however it was to be loaded
//   out.letWrite()             the chat is open: the visitor may want to write, unless they write elsewhere
//   out.view(view)             the frame is to be "shown", "minimised" or "hidden"
//   out.follow({view, choices}) so it is, says the frame
//   out.attend()               the frame has a question: it gets the keyboard once it is shown; returns how it is shown
//   out.attended()             that is over: the page has the keyboard again
//   out.record(epoch)          record the page, under the visitor's sign; begun afresh if it is recorded already
//   out.seen()                 the agent's console has said that it shows the page
//   out.pause()                record nothing, and keep the sign
//   out.held(why)              by rules or settings nothing leaves at present, in words; null: again it does
//   out.rules(rules)           the operator's rules are these from now on
//   out.stopRecording() / out.snapshot(): one is wanted
//   out.refused(what)          so was an update, perhaps; returns whether the site hears of it otherwise
//   out.later(fun)             call it soon, after the caller has returned
//   out.report(error)          a callback threw

import { Broker } from "./broker.js";
import { Calls } from "./calls.js";
import { stringify } from "../shared/json.js";
import { ACCEPTED, ALLOW, ASKED, DECIDED, DECLINE, DECLINED, HERE, LOAD_FRAME, PAUSED, RESUMED } from "./names.js";
import { SEEN, SHOW, SNAPSHOT_REQUEST, STARTED, STOPPED, TOPIC_OF, UPDATE, VIEWS } from "./names.js";
import { invalid, matches, problem, scope, shown, validateFilter, validateTopic } from "./topics.js";
import { Viewing } from "./viewing.js";

const REFUSED = `${HERE}refused`;
const TELL_EACH = 6; // times that a snapshot is asked for, why there is none is told again
const LOCAL_ACK = { ok: true, covered: [], missing: [], elapsed_s: 0, error: null };

export class Page {
  constructor(out, firstId = 1) {
    this.out = out;
    /** The page's subscriptions; their ids begin at `firstId`. */
    this.broker = new Broker(firstId);
    /** id of a subscription -> the function that gets its ack, if any; it goes when the ack has come. */
    this.ackFuns = new Map();
    /** What a late subscriber is told, {topic, payload}: the table as the gateway said it last. */
    this.retained = [];
    /** So the values that the page has published to be retained, {topic, payload, until}, the oldest first; until: on the
     *  clock of `performance`, NaN: for good. */
    this.values = [];
    /** Callbacks that wait for their turn. */
    this.calls = new Calls(out.report);
    /** The public name of the page session; null until the first welcome. */
    this.session = null;
    /** Whether an agent views the page. */
    this.viewing = new Viewing();
    /** The number of the last page update: from 1 in each session that an agent views, and the agent gets the same. */
    this.updates = 0;
    /** Why nothing is recorded though an agent has the page, in words; null while nothing is in the way. `hindered`
     *  sets it; it goes with the session. */
    this.hindrance = null;
    /** Why the recorder holds everything back, by rules or settings; null while it does not. `held` sets it; it goes
     *  with the recorder. */
    this.hold = null;
    /** Snapshots that were asked for; an agent asks twice a second until it has one. */
    this.wanted = 0;
    /** The site's own way to ask its visitor, `request => promise of true`; null: the frame asks. */
    this.consent = null;
    /** How the frame was shown before it asked; null while it does not ask. */
    this.viewBefore = null;
    /** Whether the recorder is one of a document that was replaced. */
    this.isReplaced = false;
    /** The id of the last stop. */
    this.lastStop = 0;
  }

  // ── the calls ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** options: {retained: true} tells first what is retained in the fabric; of the page itself that is told anyway. */
  subscribe(filter, msgFun, ackFun, options, id) {
    validateFilter(filter);
    const kind = scope(filter);
    if (typeof msgFun !== "function") throw invalid("TypeError", "msg_fun", msgFun, "a function");
    const given = this.broker.subscribe(filter, msgFun, id, options);
    const one = [this.broker.subscriptions.get(given)];
    for (const { topic, payload, until } of [...this.retained, ...this.values]) {
      if (topic === STARTED && payload.epoch !== this.viewing.running) continue; // over here, or not begun
      if (topic === ASKED && payload.epoch !== this.viewing.request?.payload.epoch) continue; // answered here
      if (matches(filter, topic) && !(until <= performance.now())) this.hand(one, { topic, payload, retained: true });
    }
    this.ackFuns.set(given, ackFun);
    if (kind === "local") this.acked({ id: given, ...LOCAL_ACK });
    else this.out.frame({ ...options, t: "subscribe", id: given, filter });
    this.out.later(() => this.calls.run()); // not before the caller has the id
    return given;
  }

  unsubscribe(id) {
    const filter = this.broker.unsubscribe(id);
    this.ackFuns.delete(id);
    if (scope(filter) !== "local") this.out.frame({ t: "unsubscribe", id });
  }

  /** options: {retain: true, expires_s}. A value of the page or its session is kept here, others in the fabric. */
  publish(topic, msg = null, options = {}) {
    validateTopic(topic);
    const kind = scope(topic);
    if (kind === "system") throw invalid("ScopeError", "topic", topic, "no leading $");
    if (DECIDED.has(topic)) throw invalid("ScopeError", "topic", topic, "one that the frame does not tell");
    const payload = kind === "local" && !options.retain ? msg : plain(topic, msg);
    if (options.retain && kind) {
      this.values = this.values.filter((each) => each.topic !== topic);
      if (payload !== null) this.values.push({ topic, payload, until: performance.now() + options.expires_s * 1000 });
    }
    if (topic === LOAD_FRAME || topic in VIEWS) this.out.wantFrame();
    if (kind !== "local") this.out.frame({ ...options, t: "publish", topic, payload });
    if (kind) this.deliver({ topic, payload });
    if (topic in VIEWS) this.out.view(VIEWS[topic]);
    if (topic === DECLINE) this.view({ t: "decline", epoch: payload?.epoch });
    return this.calls.run();
  }

  /** The site asks its visitor itself: `ask(request)` returns a promise of true or false; a request that waits is asked
   *  now. The frame does not ask then. null: the frame asks again. */
  onConsent(ask) {
    if (ask !== null && typeof ask !== "function") {
      throw invalid("TypeError", "on_consent", ask, "a function, or null");
    }
    this.consent = ask;
    this.out.frame({ t: "consent", own: ask !== null });
    if (this.viewing.request) this.askVisitor(this.viewing.request.payload);
    this.calls.run();
  }

  /** Stop co-browsing: when this returns, no update leaves any more. Resolves to true once no agent handles one, to
   *  false when nobody can say so any more: the page session has ended. */
  stopSession() {
    const id = (this.lastStop += 1);
    const over = new Promise((done) => this.view({ t: "stop", id, done }));
    this.out.frame({ t: "stop", id });
    this.calls.run();
    return over;
  }

  /** After `~/site_connect/error`: ask for a code again. */
  retry() {
    this.out.frame({ t: "retry" });
  }

  /** The subscriptions that reach beyond the page: {id, filter}, and their options. */
  beyond() {
    const held = [...this.broker.subscriptions.values()].filter(({ filter }) => scope(filter) !== "local");
    return held.map(({ id, filter, options }) => ({ ...options, id, filter }));
  }

  /** A page update, an opaque text; false when no co-browsing runs. */
  sendUpdate(event, snapshot) {
    const epoch = this.viewing.running;
    if (epoch === null || this.why !== null) return false;
    this.updates += 1;
    const update = { epoch, n: this.updates, event, snapshot };
    this.out.frame({ t: "update", ...update });
    this.deliver({ topic: UPDATE, payload: update });
    this.calls.run();
    return true;
  }

  /** What the page shows may not leave, for this reason; null: again it may. Agent and visitor are told. */
  hindered(why) {
    const epoch = this.viewing.running;
    if (epoch === null || why === this.hindrance) return;
    this.hindrance = why;
    this.hold = null; // what holds back is asked again by the next recorder
    if (why === null) this.record(epoch);
    else this.out.pause();
    this.tellHindrance(epoch);
    this.calls.run();
  }

  /** The recorder holds everything back, by rules or settings, for this reason; null: no more. Agent and visitor are told,
   *  and what the agent has seen is taken back. */
  held(why) {
    const epoch = this.viewing.running;
    if (epoch === null || why === this.hold) return;
    this.hold = why;
    this.out.held(why);
    this.tellHindrance(epoch);
    this.calls.run();
  }

  /** Why nothing leaves though an agent has the page; null while it does. */
  get why() {
    return this.hindrance ?? this.hold;
  }

  /** The document was replaced, as by `document.open()`: what recorded the one before hears nothing more. The frame is
   *  loaded again then; once it is back the page is recorded afresh. */
  replaced() {
    this.isReplaced = true;
  }

  // ── what the frame says ────────────────────────────────────────────────────────────────────────────────────────

  fromFrame(said) {
    if (said.t === "site") this.told(named(said));
    else if (said.t === "message") this.received(said);
    else if (said.t === "ack") this.acked(said);
    else if (said.t === "retained") this.retained = said.messages.map(named);
    else if (said.t === "welcome") this.welcomed(said);
    else if (said.t === "rules") this.out.rules(said.rules);
    else if (said.t === "stopped") this.view({ t: "acknowledged", id: said.id });
    else if (said.t === "snapshot") this.out.snapshot();
    else if (said.t === "view") this.out.follow(said);
    else if (said.t === "act" && isBeyond(said.topic)) this.publish(said.topic, said.payload); // in the frame
    else if (said.t === "stop") this.stopSession();
    this.calls.run();
  }

  told(message) {
    if (message.payload?.code) this.view({ t: "code" });
    if (message.topic === REFUSED && this.out.refused(message.payload.what)) return;
    this.deliver(message);
  }

  received(said) {
    const { topic, payload } = said;
    if (!isBeyond(topic)) return undefined;
    if (said.ids) return this.hand(said.ids.map((id) => this.broker.subscriptions.get(id)).filter(Boolean), said);
    if (topic === ASKED) return this.view({ t: "ask", payload });
    if (topic === DECLINED) return this.view({ t: "over", epoch: payload.epoch, reason: payload.reason });
    if (topic === STARTED) return this.view({ t: "start", payload });
    if (topic === STOPPED) return this.view({ t: "over", epoch: payload.epoch });
    if (topic === SNAPSHOT_REQUEST && this.viewing.running !== null) this.snapshotWanted();
    if (topic === SEEN && payload.epoch === this.viewing.running && this.why === null) this.out.seen();
    if (topic in VIEWS) this.out.view(VIEWS[topic]);
    if (topic === ACCEPTED) this.out.letWrite();
    return this.deliver(said);
  }

  acked({ t, id, ...ack }) {
    const ackFun = this.ackFuns.get(id);
    this.ackFuns.delete(id); // after a loss the gateway acks again; the page is told once
    if (ackFun) this.calls.add(ackFun, ack);
  }

  /** The frame has its session. `fresh`: what the table says is to be told, as nobody heard of it when it happened. */
  welcomed({ session, retained: typed, fresh, rules }) {
    const retained = typed.map(named);
    if (rules) this.out.rules(rules); // before anything could be recorded
    if (this.session !== null && session !== this.session) this.view({ t: "session" });
    this.session = session;
    const before = new Set(this.retained.map((each) => JSON.stringify(each)));
    this.retained = retained;
    const epochOf = (topic) => retained.find((each) => each.topic === topic)?.payload.epoch ?? null;
    this.view({ t: "welcome", epoch: epochOf(STARTED), asked: epochOf(ASKED) });
    if (!fresh) return;
    for (const each of retained) {
      const { topic, payload } = each;
      if (before.has(JSON.stringify(each))) continue;
      if (topic === ASKED) this.view({ t: "ask", payload, retained: true });
      else if (topic === STARTED) this.view({ t: "start", payload, retained: true });
      else if (topic === STOPPED) this.view({ t: "over", epoch: payload.epoch });
      else this.deliver({ topic, payload, retained: true });
    }
  }

  // ── co-browsing ────────────────────────────────────────────────────────────────────────────────────────────────

  view(input) {
    for (const effect of this.viewing.handle(input)) this.perform(effect);
  }

  snapshotWanted() {
    if (this.isReplaced) this.record(this.viewing.running);
    else this.out.snapshot(); // it may be worth a try again
    this.wanted += 1;
    const mayBeNew = this.wanted % TELL_EACH === 0; // an agent that has come back has not heard of it
    if (this.why !== null && mayBeNew) this.tellHindrance(this.viewing.running);
  }

  record(epoch) {
    this.isReplaced = false;
    this.out.record(epoch);
  }

  tellHindrance(epoch) {
    const { why } = this;
    const isHeld = why !== null && why === this.hold;
    const [topic, payload] = why === null ? [RESUMED, { epoch }] : [PAUSED, { epoch, why, ...(isHeld ? { by: "site" } : {}) }];
    this.out.frame({ t: "publish", topic, payload });
    this.deliver({ topic, payload });
  }

  /** Ask by the site's own dialog; else by the frame, which is shown for it. */
  askVisitor(request) {
    if (this.consent) {
      this.asked();
      const ask = async () => (await this.consent({ ...request })) === true;
      const failed = (error) => (this.out.report(error), false);
      ask().catch(failed).then((allowed) => this.answer(request.epoch, allowed));
    } else {
      this.viewBefore ??= this.out.attend();
      this.publish(SHOW);
    }
  }

  /** The site's dialog was answered; nothing if that request is over. */
  answer(epoch, allowed) {
    if (epoch === this.viewing.request?.payload.epoch) this.publish(allowed ? ALLOW : DECLINE, { epoch });
  }

  /** The frame does not ask any more; it goes back to how it was, unless the visitor has allowed what was asked. */
  asked(allowed = false) {
    const before = this.viewBefore;
    if (before === null) return;
    this.viewBefore = null;
    this.out.attended();
    if (!allowed && before !== "shown") this.publish(TOPIC_OF[before]);
  }

  perform(effect) {
    switch (effect.do) {
      case "tell_ask":
        this.deliver({ ...effect, topic: ASKED });
        return this.askVisitor(effect.payload);
      case "tell_declined":
        this.deliver({ ...effect, topic: DECLINED });
        return this.asked();
      case "record":
        this.hindrance = this.hold = null;
        return this.record(effect.epoch);
      case "halt":
        this.hindrance = this.hold = null;
        return this.out.stopRecording();
      case "snapshot":
        return this.snapshotWanted();
      case "resolve":
        return effect.done(effect.ok);
      case "tell_start":
        this.updates = 0;
        this.asked(true);
        return this.deliver({ ...effect, topic: STARTED });
      case "tell_stop":
        return this.deliver({ topic: STOPPED, payload: { epoch: effect.epoch } });
    }
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
    return JSON.parse(stringify(msg));
  } catch (error) {
    throw problem("LocalWireError", `${shown(topic)}: the message is no JSON: ${error.message}`);
  }
}
