// The console's way to the gateway: sign-in by POST, then one WebSocket, opened again after a loss.

import { BackOff, ruleOf } from "../shared/back_off.js";
import { consoleClosed, notSignedIn } from "../shared/words.js";

const PING_S = 1;
const SILENT_S = 5; // without an answer to a ping: what is on the screen may be old
const LOST_S = 20; // a socket that is silent for so long is left
const BROWSER = {
  open: () => new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws/agent`),
  fetch: (path, options) => fetch(path, options),
  after: (seconds, fun) => setTimeout(fun, seconds * 1000),
  every: (seconds, fun) => setInterval(fun, seconds * 1000),
  now: () => performance.now(),
  random: Math.random,
};

export class Link {
  /** told: heard(message), quality(milliseconds or null), silent(seconds) without an answer, from SILENT_S on, and 0 when
   *  there is one again, out(words): the door is to be shown
   *  browser: what the link needs of it; `after` and `every` take seconds, `now` is in milliseconds */
  constructor(told, browser = BROWSER) {
    this.told = told;
    this.browser = browser;
    /** The present WebSocket; null while the next one is waited for, and while nobody is signed in. */
    this.socket = null;
    /** Whether the gateway has welcomed this socket: before, nothing is sent. */
    this.open = false;
    this.backOff = new BackOff(browser.random);
    /** When the first ping was sent that has no answer, in milliseconds of `now`; null while none is awaited. A timer of a
     *  tab in the background comes late; what was not asked for was not missed. */
    this.askedAt = null;
    /** Whether `silent` was told last with seconds above 0. */
    this.isSilent = false;
    /** The id of the last request. */
    this.last = 0;
    /** Requests that wait for their reply: id -> what resolves the promise. They end with the socket. */
    this.replies = new Map();
    browser.every(PING_S, () => this.ping());
  }

  /** Sign in. Returns null, or words when it failed. */
  async signIn(agent, password) {
    const response = await this.browser.fetch("/agent/sign_in", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ agent, password }),
    });
    if (response.ok) {
      this.dial();
      return null;
    }
    return notSignedIn(response.status);
  }

  /** Go on where the agent is signed in; else show the door. */
  async resume() {
    const me = await this.browser.fetch("/agent/me").catch(() => null);
    if (me?.ok) this.dial();
    else this.told.out("");
  }

  async signOut() {
    await this.browser.fetch("/agent/sign_out", { method: "POST" }).catch(() => null);
    this.leave();
    this.told.out("");
  }

  send(message) {
    if (this.open) this.socket.send(JSON.stringify(message));
    return this.open;
  }

  /** Send a request; the promise is of its reply, which may not be ok. */
  ask(message) {
    const id = (this.last += 1);
    return new Promise((resolve) => {
      if (!this.send({ ...message, id })) resolve({ ok: false, error: "NotConnected" });
      else this.replies.set(id, resolve);
    });
  }

  ping() {
    const now = this.browser.now();
    const silent_s = this.askedAt === null ? 0 : (now - this.askedAt) / 1000;
    if (silent_s >= SILENT_S) this.silent(silent_s);
    if (silent_s >= LOST_S) {
      this.closed(1006);
      return;
    }
    if (!this.open) return;
    this.askedAt ??= now;
    this.send({ t: "ping", at: now });
  }

  silent(seconds) {
    this.isSilent = seconds > 0;
    this.told.silent(seconds);
  }

  dial() {
    const socket = (this.socket = this.browser.open());
    this.askedAt = this.browser.now(); // the welcome is the first answer
    socket.onmessage = ({ data }) => socket === this.socket && this.heard(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.closed(code);
  }

  heard(said) {
    this.askedAt = null;
    if (this.isSilent) this.silent(0);
    if (said.t === "pong") return this.told.quality(this.browser.now() - said.at);
    if (said.t === "welcome") {
      this.open = true;
      this.backOff.restart();
    }
    this.told.heard(said);
    if (said.t === "welcome") this.ping();
    if (said.t === "reply" || said.t === "refused") {
      this.replies.get(said.id)?.(said.t === "reply" ? said : { ok: false, error: said.error });
      this.replies.delete(said.id);
    }
    return undefined;
  }

  leave() {
    const { socket } = this;
    this.socket = null;
    this.open = false;
    this.askedAt = null;
    socket?.close();
    for (const resolve of this.replies.values()) resolve({ ok: false, error: "NotConnected" });
    this.replies.clear();
  }

  async closed(code) {
    const stood = this.open;
    const rule = ruleOf(code);
    this.leave();
    this.told.quality(null);
    if (rule.reconnect === "never") return this.told.out(consoleClosed(rule.name));
    // A refused socket does not say why: the agent may not be signed in any more.
    const me = stood ? null : await this.browser.fetch("/agent/me").catch(() => null);
    if (me && me.status === 401) return this.told.out("Please sign in again.");
    this.browser.after(this.backOff.wait(rule.least_s), () => this.dial());
    return undefined;
  }
}
