// The console's way to the gateway: sign-in by POST, then one WebSocket, come back to with back-off and jitter.

const FIRST_S = 0.5;
const LONGEST_S = 15;
const PING_S = 3;
const TAKEN_OVER = 4001;

export class Link {
  /** told: heard(message), quality(milliseconds or null), out(words): the door is to be shown */
  constructor(told) {
    this.told = told;
    this.socket = null;
    this.open = false;
    this.delay = FIRST_S;
    this.last = 0;
    this.replies = new Map();
    setInterval(() => this.ping(), PING_S * 1000);
  }

  /** Sign in, or find that one is. Returns words when that failed, else null. */
  async signIn(agent, password) {
    const response = await fetch("/agent/sign_in", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ agent, password }),
    });
    if (response.ok) {
      this.dial();
      return null;
    }
    const { why } = await response.json().catch(() => ({}));
    return why ?? `The gateway answered ${response.status}.`;
  }

  async resume() {
    const me = await fetch("/agent/me").catch(() => null);
    if (me?.ok) this.dial();
    else this.told.out("");
  }

  async signOut() {
    await fetch("/agent/sign_out", { method: "POST" }).catch(() => null);
    this.leave();
    this.told.out("");
  }

  send(message) {
    if (this.open) this.socket.send(JSON.stringify(message));
    return this.open;
  }

  /** Send what is answered; the promise is of the reply, which may not be ok. */
  ask(message) {
    const id = (this.last += 1);
    return new Promise((resolve) => {
      if (!this.send({ ...message, id })) resolve({ ok: false, why: "There is no connection at present." });
      else this.replies.set(id, resolve);
    });
  }

  ping() {
    if (this.open) this.send({ t: "ping", at: performance.now() });
  }

  dial() {
    const socket = (this.socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws/agent`));
    socket.onmessage = ({ data }) => socket === this.socket && this.heard(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.closed(code);
  }

  heard(said) {
    if (said.t === "pong") return this.told.quality(performance.now() - said.at);
    if (said.t === "welcome") {
      this.open = true;
      this.delay = FIRST_S;
    }
    this.told.heard(said);
    if (said.t === "welcome") this.ping();
    if (said.t === "reply" || said.t === "refused") {
      this.replies.get(said.id)?.(said.t === "reply" ? said : { ok: false, why: said.why });
      this.replies.delete(said.id);
    }
    return undefined;
  }

  leave() {
    const { socket } = this;
    this.socket = null;
    this.open = false;
    socket?.close();
    for (const resolve of this.replies.values()) resolve({ ok: false, why: "The connection was lost." });
    this.replies.clear();
  }

  async closed(code) {
    const stood = this.open;
    this.leave();
    this.told.quality(null);
    if (code === TAKEN_OVER) return this.told.out("You are signed in elsewhere, or have signed out there.");
    const me = stood ? null : await fetch("/agent/me").catch(() => null); // a refused socket does not say why
    if (me && me.status === 401) return this.told.out("Please sign in again.");
    setTimeout(() => this.dial(), 1000 * this.delay * (0.5 + Math.random() / 2));
    this.delay = Math.min(LONGEST_S, this.delay * 2);
    return undefined;
  }
}
