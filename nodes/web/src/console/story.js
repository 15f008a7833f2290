// What the console knows, as data: a pure function of what the gateway says and of what the agent does.
//
//   desk.visitors   session -> {label, state, asked, refusal, epoch, synced, n, pulse, paused, chat, messages, unread, href}
//                   asked: {epoch, since} of a request that the visitor has not answered, or null
//                   refusal: how the last request ended that was not allowed, until the agent has turned away from it
//                   n: of the last update that is shown · pulse: {n, seenAt, open}, what was heard of the page last
//                   paused: why nothing of it may be shown, or ""
//   desk.active     the session that is on the screen, or null

export const START = {
  agent: "",
  name: "",
  buttons: [],
  serving: [],
  available: false,
  connected: false,
  silent_s: 0, // since when the gateway has not answered, from a few seconds on
  covered: true, // the gateway reaches the whole mesh
  lease: true, // a frame node answers
  visitors: {},
  active: null,
  counted: 0,
  notice: "",
};
const NOTHING_SEEN = { synced: false, n: null, pulse: null, paused: "" };
// No prototype: `toString` is a topic like others. Whether each says that a page pauses.
const PAUSES = { __proto__: null, "~pagesession/cobrowsing/paused": true, "~pagesession/cobrowsing/resumed": false };
const OLD_MS = 5_000; // a picture that was not confirmed for so long may be old
const AWAY_MS = 2_000; // a page that is loaded again is away for less
const ENGAGED = ["offered", "invited", "open"];
const MAX_MESSAGES = 500;

/** The desk after the gateway said this. `now`: milliseconds of a clock that only runs forward. */
export function heard(desk, said, now = 0) {
  if (said.t === "welcome") return welcomed(desk, said, now);
  if (said.t === "state") return said.state ? withState(desk, said.state, now) : desk; // none: an event says that it is gone
  if (said.t === "reply" && said.state) return withState(desk, said.state, now);
  if (said.t === "connection") return { ...desk, covered: said.connected !== false && !(said.missing ?? []).length };
  if (said.t === "drain") return { ...desk, notice: "The gateway restarts; this console comes back by itself." };
  if (said.t !== "event") return desk;
  const step = EVENTS[said.event];
  return step ? step(desk, said, now) : desk;
}

function welcomed(desk, said, now) {
  const { agent, name, buttons, serving = buttons, available, pages } = said;
  let next = { ...desk, agent, name, buttons, serving, available, connected: true, lease: true, notice: "" };
  const engaged = new Set(pages.map(({ session }) => session));
  for (const session of Object.keys(next.visitors)) if (!engaged.has(session)) next = without(next, session);
  for (const state of pages) {
    next = withState(next, state, now);
    if (state.cobrowse === "joined" && state.agent === agent) next = joined(next, state);
    if (state.cobrowse === "asked" && state.agent === agent) next = requested(next, state, now);
  }
  return next;
}

const EVENTS = {
  requested,
  request_declined: (desk, { session, epoch, reason }) => {
    const asked = desk.visitors[session]?.asked;
    if (!asked || asked.epoch > epoch) return desk;
    const next = change(desk, session, { asked: null, refusal: reason });
    return left({ ...next, notice: `${next.visitors[session].label}: ${REFUSALS[reason] ?? REFUSALS.unknown}` }, session);
  },
  joined,
  stopped: (desk, { session, by }) => {
    const next = change(desk, session, { epoch: null, ...NOTHING_SEEN, href: "" });
    return by === "page" ? { ...next, notice: "The visitor has stopped the viewing." } : next;
  },
  update: (desk, { session, snapshot, epoch, n }) => {
    const visitor = desk.visitors[session];
    if (visitor?.epoch !== epoch || !(visitor.synced || snapshot)) return desk;
    return change(desk, session, { synced: true, n, paused: "" });
  },
  pulse: (desk, { session, epoch, n, silent_s, open }, now) => {
    if (desk.visitors[session]?.epoch !== epoch) return desk;
    return change(desk, session, { pulse: { n, open, seenAt: now - silent_s * 1000 } });
  },
  message: (desk, { session, topic, payload }) => {
    if (desk.visitors[session]?.epoch !== payload?.epoch || !(topic in PAUSES)) return desk;
    return change(desk, session, { synced: false, paused: PAUSES[topic] ? String(payload.why) : "" });
  },
  chat_offered: (desk, { session, button }) => change(desk, session, { chat: "offered", button }),
  chat_invited: (desk, { session }) => change(desk, session, { chat: "invited", messages: [] }),
  chat_open: (desk, { session, button }) => {
    const next = change(desk, session, { chat: "open", button });
    return next.active === null ? activate(next, session) : next;
  },
  chat_withdrawn: (desk, { session }) => left(change(desk, session, { chat: "idle" }), session),
  chat_closed: (desk, { session }) => left(change(desk, session, { chat: "closed" }), session),
  chat_message: (desk, { session, message }) => withMessage(desk, session, message, false),
  page_gone: (desk, { session }) => ({ ...without(desk, session), notice: "The visitor has left the page." }),
  lease_uncertain: (desk) => ({ ...desk, lease: false }),
  lease_lost: (desk) => ({ ...desk, lease: false }),
  signed_in: (desk) => ({ ...desk, lease: true }),
};

/** Who is asked by code is on the screen; who is asked in a chat, if nothing else is. */
function requested(desk, { session, epoch }, now) {
  const known = desk.visitors[session]?.asked;
  const asked = known?.epoch === epoch ? known : { epoch, since: now };
  const next = change(desk, session, { asked, refusal: "" });
  return next.active === null || next.visitors[session].chat === "idle" ? activate(next, session) : next;
}

/** A page is on the screen from when it is joined. */
function joined(desk, { session, epoch }) {
  return activate(change(desk, session, { epoch, asked: null, refusal: "", ...NOTHING_SEEN }), session);
}

function change(desk, session, changes) {
  const known = desk.visitors[session];
  const counted = known ? desk.counted : desk.counted + 1;
  const nothing = { state: {}, asked: null, refusal: "", epoch: null, ...NOTHING_SEEN, chat: "idle", messages: [] };
  const fresh = { label: `Visitor ${counted}`, ...nothing };
  const visitor = known ?? fresh;
  return { ...desk, counted, visitors: { ...desk.visitors, [session]: { ...visitor, ...changes } } };
}

function withState(desk, state, now) {
  const { session } = state;
  const known = desk.visitors[session];
  if (known && known.state.version > state.version) return desk;
  const mine = state.chat_agent === desk.agent && state.gone !== true;
  const engaged = mine || (state.agent === desk.agent && state.gone !== true);
  if (!engaged && !known) return desk;
  const asked = askedNow(desk, state, known, now);
  if (!engaged) {
    const over = known.chat === "open" ? "closed" : known.chat;
    return left(change(desk, session, { state, asked, chat: over }), session);
  }
  const chat = mine ? state.chat : (known?.chat ?? "idle");
  return change(desk, session, { state, asked, chat, button: state.button });
}

/** The agent's own request, and since when it is known to wait. */
function askedNow(desk, { cobrowse, agent, epoch, gone }, known, now) {
  if (cobrowse !== "asked" || agent !== desk.agent || gone === true) return null;
  return known?.asked?.epoch === epoch ? known.asked : { epoch, since: now };
}

/** A visitor who is neither viewed, asked nor in a chat is dropped. A chat that has ended, and a request that was declined,
 *  stay while they are on the screen. */
function left(desk, session) {
  const visitor = desk.visitors[session];
  const reading = desk.active === session && (visitor.messages.length > 0 || visitor.refusal !== "");
  return visitor.epoch === null && visitor.asked === null && !ENGAGED.includes(visitor.chat) && !reading ? without(desk, session) : desk;
}

function without(desk, session) {
  const { [session]: gone, ...visitors } = desk.visitors;
  return { ...desk, visitors, active: desk.active === session ? null : desk.active };
}

export function withMessage(desk, session, { from, text, id }, own) {
  const visitor = desk.visitors[session];
  if (!visitor || typeof text !== "string" || (id && visitor.messages.some((each) => each.id === id))) return desk;
  const messages = [...visitor.messages, { from: String(from ?? ""), text, id, own }].slice(-MAX_MESSAGES);
  const unread = own || desk.active === session ? 0 : (visitor.unread ?? 0) + 1;
  return change(desk, session, { messages, unread });
}

export function activate(desk, session) {
  const before = desk.active;
  const next = { ...change(desk, session, { unread: 0 }), active: session };
  if (!before || before === session || !next.visitors[before]) return next;
  return left(change(next, before, { refusal: "" }), before);
}

/** The agent has stopped it: nothing of it is shown any more, even if updates still come. */
export function stopped(desk, session) {
  return change(desk, session, { epoch: null, ...NOTHING_SEEN, href: "" });
}

/** Whether the picture of a visitor's page is that page as it is now: {words, level, old}. It is current only while page
 *  and gateway have said so in the last seconds, and all that the page has made of updates is on the screen. */
export function picture({ connected, silent_s }, { synced, n, pulse, paused }, now) {
  const age_ms = pulse ? now - pulse.seenAt : null;
  const ago = age_ms === null ? "" : `Last seen ${Math.round(age_ms / 1000)} s ago`;
  if (paused) return { words: paused, level: "poor", old: true };
  if (age_ms !== null && age_ms >= AWAY_MS && !pulse.open) {
    return { words: `The visitor's page is closed or away · ${ago}`, level: "poor", old: true };
  }
  if (age_ms !== null && (age_ms >= OLD_MS || !connected || silent_s > 0)) return { words: ago, level: "poor", old: true };
  if (!synced) return { words: "Waiting for the page…", level: "fair", old: false };
  if (!pulse) return { words: "Waiting for word of the page…", level: "fair", old: !connected || silent_s > 0 };
  if (pulse.n !== n) return { words: "Catching up…", level: "fair", old: false };
  return { words: "Live", level: "good", old: false };
}

/** How a request ended that was not allowed, for the agent. */
export const REFUSALS = {
  __proto__: null,
  declined: "The visitor chose not now.",
  timeout: "The visitor did not answer in time.",
  withdrawn: "You took your request back.",
  agent_lost: "Your connection was lost; the request is over.",
  page_lost: "The visitor has left the page.",
  unknown: "The request is over.",
};

/** Whether a visitor can be asked to show the page: "" if so, else why not, or null where there is nothing to ask for. */
export function whyNotAsk(desk, { chat, state, epoch, asked }) {
  if (epoch !== null || asked !== null || !["offered", "open"].includes(chat)) return null;
  if (!canAct(desk)) return "The gateway does not answer at present.";
  if (state.cobrowse === "asked") return "Another agent asks this visitor at present.";
  if (state.cobrowse === "joined") return "Another agent sees this page at present.";
  return state.cobrowse === "stopping" ? "The last viewing is just ending." : "";
}

/** Whether what the agent asks for can be done at present. */
export function canAct({ connected, silent_s }) {
  return connected && silent_s === 0;
}

export function addressed(desk, session, href) {
  return desk.visitors[session] ? change(desk, session, { href }) : desk;
}

/** Sessions by what they want of the agent. */
export function waiting(desk) {
  return Object.keys(desk.visitors).filter((session) => desk.visitors[session].chat === "offered");
}

export function engaged(desk) {
  return Object.keys(desk.visitors).filter((session) => desk.visitors[session].chat !== "offered");
}
