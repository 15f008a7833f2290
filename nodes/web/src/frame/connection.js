// The frame's way to the gateway: one WebSocket at a time, opened again after a loss, the session resumed by its token.
// Pure but for what it is given. The words on the wire: docs/web-protocol.md. Reading order: `send`, for what the page
// wants; `heard`, for what the gateway says; `closed`, for what follows then.
//
//   open(), a new WebSocket · after(seconds, fun) -> cancel() · random() in [0, 1) · instance, drawn by this document
//   kept.get(name), kept.set(name, value): `token` and `seen`, which the next document of this tab finds
//   chat(), what the gateway is given of the chat, or null
//   tell(message): `welcome` (with `fresh`, and with `unsaid`: what the page has published and the gateway has not heard),
//     `site`, `message`, `retained`, `ack`, `stopped`, `connection`, `snapshot`, `rules`

import { BackOff, ruleOf } from "../shared/back_off.js";
import { packed } from "../shared/packing.js";
import { Updates } from "./updates.js";

const STEADY_S = 10; // a socket that stood for so long was good: the back-off begins again
const MAX_SILENT_BEATS = 2;
const MAX_WAITING = 1000; // publishes that wait for the socket
const UPDATE_LIMITS = new Set(["rate", "bytes"]); // past these the gateway drops messages, and perhaps an update
const STATES =
  /^~\/site_connect\/(ready|new_code|chat_button\/.*)$|^~pagesession\/cobrowsing\/(asked|declined|start|stop)$/;
// What is said again after a loss until it was answered: each counts once, by its id or its epoch.
const CERTAIN = /^~pagesession\/(chat\/message|cobrowsing\/(allow|decline|paused|resumed))$/;
const HINDRANCE = /^~pagesession\/cobrowsing\/(paused|resumed)$/; // the last one holds
const AGAIN_S = 1; // after a limit: by then the gateway takes some more
const LOST = { t: "connection", connected: false, covered: [], missing: [] };

export class Connection {
  constructor({ open, after, random, kept, instance, tell, chat = () => null }) {
    Object.assign(this, { open, after, random, kept, instance, tell, chat });
    /** {origin, buttons} of the page, from its first greeting; null before. */
    this.page = null;
    /** The present WebSocket; null while the next one is waited for, and when there will be none. */
    this.socket = null;
    /** Whether the gateway has welcomed this socket: before, nothing but `hello` is sent. */
    this.welcomed = false;
    /** The highest `seq` handled, also by the documents before this one in the tab; null before the first. */
    this.seen = kept.get("seen");
    /** States with a `seq` up to this one were in the last welcome, and are not told again. */
    this.toldUpTo = 0;
    /** The public name of the session; null before the first welcome of this document. */
    this.session = null;
    /** The page's subscriptions: id -> filter. Each welcome is followed by all of them. */
    this.filters = new Map();
    /** Ids of stops that are not acknowledged. Each welcome is followed by all of them. */
    this.stops = new Set();
    /** Publishes that wait for a welcome, at most MAX_WAITING; none that is CERTAIN, see `publish`. */
    this.waiting = [];
    /** What is CERTAIN and has no answer, by the id they were published with. Each welcome is followed by all of them. */
    this.unanswered = new Map();
    /** The id of the last publish. */
    this.published = 0;
    /** Heartbeats that have passed since the gateway said anything. */
    this.silent = 0;
    this.backOff = new BackOff(random);
    /** Seconds to wait before the next socket at least, as a gateway that drains has asked; used once. */
    this.spread_s = 0;
    /** Whether the last socket was closed for good: no other one follows by itself. */
    this.isOver = false;
    /** The page updates on their way to the socket. */
    this.updates = new Updates({
      packed,
      isOpen: () => this.welcomed,
      buffered: () => this.socket.bufferedAmount,
      send: (message) => this.put(message),
      after: (seconds, fun) => this.cancels.push(this.after(seconds, fun)),
      tell,
      refused: (what, why) => this.refused(what, why),
    });
    /** What ends the timers of this socket, or the wait for the next. */
    this.cancels = [];
  }

  start(page) {
    this.page = page;
    this.dial();
  }

  /** These are all the page's subscriptions: {id, filter}, and their options. */
  hold(subscriptions) {
    const wanted = new Set(subscriptions.map(({ id }) => id));
    for (const id of [...this.filters.keys()]) if (!wanted.has(id)) this.send({ t: "unsubscribe", id });
    for (const each of subscriptions) if (!this.filters.has(each.id)) this.send({ ...each, t: "subscribe" });
  }

  /** The page has made updates up to this number, also while it had no frame; null: none. */
  hasMade(n) {
    this.updates.made = n;
  }

  // ── what the page wants ────────────────────────────────────────────────────────────────────────────────────────

  send(message) {
    if (message.t === "subscribe") this.filters.set(message.id, message);
    else if (message.t === "unsubscribe") this.filters.delete(message.id);
    else if (message.t === "stop") this.stop(message.id);
    else if (message.t === "update") return this.updates.add(message);
    else if (message.t === "publish") return this.publish(message);
    return this.welcomed && this.put(message);
  }

  stop(id) {
    this.stops.add(id);
    this.updates.clear();
  }

  publish(message) {
    if (this.waiting.length >= MAX_WAITING) {
      return this.refused("publish", `${MAX_WAITING} messages wait for the gateway; this one was dropped`);
    }
    const numbered = { ...message, id: (this.published += 1) };
    if (HINDRANCE.test(message.topic)) this.forgetHindrance();
    if (CERTAIN.test(message.topic)) this.unanswered.set(numbered.id, numbered);
    else if (!this.welcomed) this.waiting.push(numbered);
    return this.welcomed && this.put(numbered);
  }

  forgetHindrance() {
    for (const [id, { topic }] of this.unanswered) if (HINDRANCE.test(topic)) this.unanswered.delete(id);
  }

  refused(what, why, error = null) {
    this.tell({ t: "site", topic: "~/site_connect/refused", payload: { what, why, error } });
    return false;
  }

  put(message) {
    this.socket.send(JSON.stringify(message));
    return true;
  }

  // ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────

  dial() {
    const socket = (this.socket = this.open());
    this.isOver = false;
    const { origin, buttons } = this.page;
    socket.onopen = () => {
      const token = this.kept.get("token");
      const { instance, seen } = this;
      this.put({ t: "hello", v: 1, origin, instance, token, seen, buttons, chat: this.chat() });
    };
    socket.onmessage = ({ data }) => socket === this.socket && this.heard(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.socket && this.closed(code, reason);
  }

  /** The network is back: what waits for the next try tries now. */
  hurry() {
    if (!this.socket && this.page && !this.isOver) {
      this.rest();
      this.dial();
    }
  }

  /** The document goes. The session waits for the next one. */
  close() {
    const { socket } = this;
    this.rest();
    this.socket = null;
    this.welcomed = false;
    this.updates.clear();
    socket?.close(1000);
  }

  closed(code, reason = "") {
    const was = this.welcomed;
    this.rest();
    this.socket = null;
    this.welcomed = false;
    this.updates.clear();
    if (was) this.tell(LOST);
    const rule = ruleOf(code);
    this.isOver = rule.reconnect === "never";
    if (this.isOver) {
      const payload = { attempts: 1, reason: reason || rule.name };
      this.tell({ t: "site", topic: "~/site_connect/error", payload });
      return;
    }
    const wait_s = this.backOff.wait(Math.max(rule.least_s, this.spread_s));
    this.spread_s = 0;
    this.cancels.push(this.after(wait_s, () => this.dial()));
  }

  rest() {
    for (const cancel of this.cancels.splice(0)) cancel();
  }

  // ── what the gateway says ──────────────────────────────────────────────────────────────────────────────────────

  heard(said) {
    this.silent = 0;
    if (said.t === "welcome") return this.welcome(said);
    if (said.t === "done") return this.unanswered.delete(said.id);
    if (said.t === "beat") return this.welcomed && this.put({ t: "beat", n: this.updates.made });
    if (said.seq) this.saw(Math.max(this.seen ?? 0, said.seq));
    if (said.seq <= this.toldUpTo && STATES.test(said.topic)) return undefined;
    if (said.t === "token") {
      this.kept.set("token", said.token);
      return this.put({ t: "token" });
    }
    if (said.t === "drain") {
      this.spread_s = this.random() * said.reconnect_s;
      this.backOff.restart();
      return undefined;
    }
    if (said.t === "refused") return this.notDone(said);
    if (said.t === "limit") return this.limited(said);
    if (said.t === "stopped") this.stops.delete(said.id);
    return this.tell(said);
  }

  limited({ what, why }) {
    if (UPDATE_LIMITS.has(what)) {
      this.updates.drop();
      this.cancels.push(this.after(AGAIN_S, () => this.sayAgain()));
    }
    return this.refused(what, why);
  }

  /** What must arrive may have been dropped with the rest. */
  sayAgain() {
    for (const message of this.unanswered.values()) this.put(message);
  }

  saw(seq) {
    this.seen = seq;
    this.kept.set("seen", seq);
  }

  notDone({ id, of, why, error }) {
    if (of === "publish") this.unanswered.delete(id);
    if (of !== "subscribe" || id === null) return this.refused(of, why, error);
    this.filters.delete(id);
    return this.tell({ t: "ack", id, ok: false, covered: [], missing: [], elapsed_s: 0, error: why });
  }

  welcome(said) {
    const fresh = said.missed || said.session !== this.session; // a new document knows of no session
    const { session, retained, connection, state, chat, rules } = said;
    this.kept.set("token", said.token);
    this.session = session;
    this.welcomed = true;
    if (said.missed || !said.resumed) this.saw(said.seq);
    this.toldUpTo = fresh ? said.seq : 0;
    this.cancels.push(this.after(STEADY_S, () => this.backOff.restart()));
    const unsaid = this.waiting.map(({ topic, payload }) => ({ topic, payload })); // newer than what the gateway knows
    this.tell({ t: "welcome", session, retained, fresh, state, chat, unsaid, rules });
    this.tell({ t: "connection", connected: true, covered: [], missing: [], ...connection });
    for (const message of this.filters.values()) this.put(message);
    for (const id of this.stops) this.put({ t: "stop", id });
    for (const message of [...this.unanswered.values(), ...this.waiting.splice(0)]) this.put(message);
    this.watch(said.heartbeat_s);
  }

  /** A gateway that is silent for two heartbeats is gone, even if the network does not know it yet. */
  watch(heartbeat) {
    this.silent += 1;
    if (this.silent <= MAX_SILENT_BEATS) {
      this.cancels.push(this.after(heartbeat, () => this.watch(heartbeat)));
      return;
    }
    const { socket } = this;
    this.closed(1006);
    socket.close();
  }
}
