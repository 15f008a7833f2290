// What the console knows, as data: a pure function of what the gateway says and of what the agent does.
//
//   desk.visitors   session -> {label, state, asked, refusal, restUntil, epoch, synced, n, pulse, paused, chat, messages, unread, href,
//                   away, gone, answer, dropped}
//                   asked: {epoch, since} of a request that the visitor has not answered, or null
//                   refusal: how the last request ended that was not allowed, or `stopped` where the visitor has ended the
//                   viewing, until the agent has turned away from it
//                   away: nothing is heard of the visitor · gone: their page has ended; what was said can be read still
//                   answer: to the last proposal, `declined`, `unanswered`, or "" · dropped: messages that are not kept
//                   restUntil: from when the visitor can be asked again who has declined, or has not answered; null: at once
//                   n: of the last update that is shown · pulse: {n, seenAt, open}, what was heard of the page last
//                   behindSince: from when the picture lacks updates that the page has made, as far as heard; null: it does not
//                   paused: why nothing of it may be shown, or ""
//   desk.active     the session that is on the screen, or null

import { merged, withLine } from "../shared/transcript.js";
import { label } from "./label.js";

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
  isHidden: false, // the console is behind another tab, or minimised: what comes is not read
  origins: {}, // session -> the origin of its page, as a gateway has verified it
  labels: {}, // session -> what its visitor is called, for as long as this console is open
  notice: "",
};
const NOTHING_SEEN = { synced: false, n: null, pulse: null, behindSince: null, paused: "" };
// No prototype: `toString` is a topic like others. Whether each says that a page pauses.
const PAUSES = { __proto__: null, "~pagesession/cobrowsing/paused": true, "~pagesession/cobrowsing/resumed": false };
const PRIVACY_PROBLEM = "~pagesession/cobrowsing/privacy_problem";
const BEHIND_MS = 500; // a picture that is behind for less is not said to be: each key that is typed takes its way
const OLD_MS = 5_000; // a picture that was not confirmed for so long may be old
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g; // also what turns text round
const REST_MS = 30_000; // as frame nodes have it; one that has another rest says so when it refuses
const RESTING = ["declined", "timeout"];
const AWAY_MS = 2_000; // a page that is loaded again is away for less
const ENGAGED = ["offered", "invited", "open"];
const GONE = { epoch: null, asked: null, ...NOTHING_SEEN, away: false, gone: true };
const NO_CHAT = { chat: "idle", messages: [], unread: 0, away: false, answer: "", dropped: 0 };

/** The desk after the gateway said this. `now`: milliseconds of a clock that only runs forward. */
export function heard(desk, said, now = 0) {
  if (said.t === "welcome") return welcomed(desk, said, now);
  if (said.t === "state") return said.state ? withState(desk, said.state, now) : desk; // none: an event says that it is gone
  if (said.t === "reply" && said.state) return withState(desk, said.state, now);
  if (said.t === "origin") return { ...desk, origins: { ...desk.origins, [said.session]: said.origin } };
  if (said.t === "connection") return { ...desk, covered: said.connected !== false && !(said.missing ?? []).length };
  if (said.t === "drain") return { ...desk, notice: "The service restarts. This console comes back by itself." };
  if (said.t !== "event") return desk;
  const step = EVENTS[said.event];
  return step ? step(desk, said, now) : desk;
}

function welcomed(desk, said, now) {
  const { agent, name, buttons, serving = buttons, available, pages } = said;
  let next = { ...desk, agent, name, buttons, serving, available, connected: true, lease: true, notice: "" };
  const engaged = new Set(pages.map(({ session }) => session));
  for (const session of Object.keys(next.visitors)) if (!engaged.has(session)) next = over(next, session);
  for (const state of pages) {
    next = withState(next, state, now);
    if (state.cobrowse === "joined" && state.agent === agent) next = joined(next, state);
    if (state.cobrowse === "asked" && state.agent === agent) next = requested(next, state, now);
  }
  for (const chat of said.chats ?? []) next = withHistory(next, chat);
  const chats = (state) => Object.keys(next.visitors).find((session) => next.visitors[session].chat === state);
  const first = chats("open") ?? chats("closed");
  return next.active === null && first ? activate(next, first) : next;
}

const EVENTS = {
  requested,
  request_declined: (desk, { session, epoch, reason }, now) => {
    const asked = desk.visitors[session]?.asked;
    if (!asked || asked.epoch > epoch) return desk;
    const restUntil = RESTING.includes(reason) ? now + REST_MS : null;
    const next = change(desk, session, { asked: null, refusal: reason, restUntil });
    return left({ ...next, notice: refusalWords(next.visitors[session])[1] }, session);
  },
  joined,
  stopped: (desk, { session, by }) => {
    const next = stopped(desk, session);
    if (by !== "page") return next;
    return { ...change(next, session, { refusal: "stopped" }), notice: "The visitor has stopped the viewing." };
  },
  update: (desk, { session, snapshot, epoch, n }, now) => {
    const visitor = desk.visitors[session];
    if (visitor?.epoch !== epoch || !(visitor.synced || snapshot)) return desk;
    const isBehind = visitor.pulse !== null && n < visitor.pulse.n; // a newer one than was told of is as good
    return change(desk, session, { synced: true, n, paused: "", behindSince: since(visitor, isBehind, now) });
  },
  pulse: (desk, { session, epoch, n, silent_s, open }, now) => {
    const visitor = desk.visitors[session];
    if (visitor?.epoch !== epoch) return desk;
    const behindSince = since(visitor, n !== visitor.n, now); // a lower number is of another document of that visitor
    return change(desk, session, { behindSince, pulse: { n, open, seenAt: now - silent_s * 1000 } });
  },
  message: (desk, { session, topic, payload }) => {
    if (topic === PRIVACY_PROBLEM) return { ...desk, notice: `A privacy rule cannot be applied: ${payload?.why}` };
    if (desk.visitors[session]?.epoch !== payload?.epoch || !(topic in PAUSES)) return desk;
    return change(desk, session, { synced: false, paused: PAUSES[topic] ? String(payload.why) : "" });
  },
  chat_offered: (desk, { session, button }) => change(desk, session, { chat: "offered", button }),
  chat_invited: (desk, { session }) => change(desk, session, { chat: "invited", answer: "" }),
  chat_open: (desk, { session, button }) => {
    const isOpen = desk.visitors[session]?.chat === "open"; // a state map was faster, or this console is back
    const next = change(desk, session, { ...(isOpen ? {} : NO_CHAT), chat: "open", button });
    return next.active === null ? activate(next, session) : next;
  },
  chat_history: (desk, chat) => withHistory(desk, chat),
  chat_withdrawn: (desk, { session }) => {
    const { answer, wasInvited, messages = [] } = desk.visitors[session] ?? {};
    const unanswered = wasInvited && answer !== "withdrawn";
    const next = change(desk, session, { chat: ended(messages), answer: unanswered ? "unanswered" : "", wasInvited: false });
    return left(unanswered ? { ...next, notice: "The visitor has not answered." } : next, session);
  },
  chat_declined: (desk, { session }) => {
    const { messages = [] } = desk.visitors[session] ?? {};
    const next = change(desk, session, { chat: ended(messages), answer: "declined", wasInvited: false });
    return left({ ...next, notice: "The visitor does not want to chat now." }, session);
  },
  visitor_away: (desk, { session }) => (desk.visitors[session] ? change(desk, session, { away: true }) : desk),
  visitor_back: (desk, { session }) => (desk.visitors[session] ? change(desk, session, { away: false }) : desk),
  chat_closed: (desk, { session }) => left(change(desk, session, { chat: "closed", away: false }), session),
  chat_message: (desk, { session, message }) => withMessage(desk, session, message, false),
  page_gone: (desk, { session }) => ({ ...over(desk, session), notice: "The visitor has left the page." }),
  lease_uncertain: (desk) => ({ ...desk, lease: false }),
  lease_lost: (desk) => ({ ...desk, lease: false }),
  signed_in: (desk) => ({ ...desk, lease: true }),
};

function since({ behindSince }, isBehind, now) {
  return isBehind ? (behindSince ?? now) : null;
}

/** Who is asked by code is on the screen; who is asked in a chat, if nothing else is. */
function requested(desk, { session, epoch }, now) {
  const known = desk.visitors[session]?.asked;
  const asked = known?.epoch === epoch ? known : { epoch, since: now };
  const next = change(desk, session, { asked, refusal: "" });
  return next.active === null || next.visitors[session].chat === "idle" ? activate(next, session) : next;
}

/** A page is on the screen from when it is joined. */
function joined(desk, { session, epoch }) {
  return activate(change(desk, session, { epoch, asked: null, refusal: "", restUntil: null, ...NOTHING_SEEN, gone: false }), session);
}

function change(desk, session, changes) {
  const name = desk.labels[session] ?? label(session, Object.values(desk.labels));
  const labels = { ...desk.labels, [session]: name };
  const nothing = { state: {}, asked: null, refusal: "", restUntil: null, epoch: null, ...NOTHING_SEEN, ...NO_CHAT, gone: false };
  const visitor = desk.visitors[session] ?? { label: name, ...nothing };
  return { ...desk, labels, visitors: { ...desk.visitors, [session]: { ...visitor, ...changes } } };
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
    const chat = known.chat === "open" ? "closed" : known.chat;
    return left(change(desk, session, { state, asked, chat }), session);
  }
  const was = known?.chat ?? "idle";
  const chat = mine ? state.chat : was;
  const begins = chat === "open" && was !== "open" ? NO_CHAT : {}; // the event that says so comes, too
  const wasInvited = chat === "invited" || (known?.wasInvited ?? false);
  return change(desk, session, { ...begins, state, asked, chat, wasInvited, gone: false, button: state.button });
}

/** The agent's own request, and since when it is known to wait. */
function askedNow(desk, { cobrowse, agent, epoch, gone }, known, now) {
  if (cobrowse !== "asked" || agent !== desk.agent || gone === true) return null;
  return known?.asked?.epoch === epoch ? known.asked : { epoch, since: now };
}

/** What an end makes of a chat: what was said in an earlier one can be read still. */
function ended(messages) {
  return messages.length ? "closed" : "idle";
}

/** A visitor who is neither viewed, asked nor in a chat is dropped. A chat that has ended stays until it is dismissed, a
 *  request that was declined, or a viewing that the visitor has stopped, while it is on the screen. */
function left(desk, session) {
  const { epoch, asked, refusal, chat, messages } = desk.visitors[session];
  const isEngaged = epoch !== null || asked !== null || ENGAGED.includes(chat);
  const isRead = messages.length > 0 || (desk.active === session && refusal !== "");
  return isEngaged || isRead ? desk : without(desk, session);
}

/** The page has ended, or nobody knows of it any more. */
function over(desk, session) {
  if (!desk.visitors[session]) return desk;
  return left(change(desk, session, { ...GONE, chat: ended(desk.visitors[session].messages) }), session);
}

/** What was said so far, as the gateway has it. */
function withHistory(desk, { session, open, away, lines, dropped }) {
  const { chat, messages = [] } = desk.visitors[session] ?? {};
  const mine = ["open", "closed"].includes(chat) ? messages : [];
  const all = merged(mine, lines, ({ by }) => by !== "page");
  return change(desk, session, { chat: open ? "open" : "closed", away, dropped, messages: all });
}

/** The agent has read a chat that has ended. */
export function dismissed(desk, session) {
  const visitor = desk.visitors[session];
  return visitor?.chat === "closed" ? left(change(desk, session, NO_CHAT), session) : desk;
}

/** The agent takes a proposal back: that it was not answered is no news. */
export function withdrawn(desk, session) {
  return desk.visitors[session]?.chat === "invited" ? change(desk, session, { answer: "withdrawn" }) : desk;
}

function without(desk, session) {
  const { [session]: gone, ...visitors } = desk.visitors;
  return { ...desk, visitors, active: desk.active === session ? null : desk.active };
}

export function withMessage(desk, session, message, own) {
  const visitor = desk.visitors[session];
  const messages = visitor && withLine(visitor.messages, message ?? {}, own);
  if (!visitor || messages === visitor.messages) return desk;
  const isRead = own || (desk.active === session && !desk.isHidden);
  const unread = isRead ? 0 : visitor.unread + 1;
  return change(desk, session, { messages, unread });
}

export function activate(desk, session) {
  const before = desk.active;
  const next = { ...change(desk, session, { unread: 0 }), active: session };
  if (!before || before === session || !next.visitors[before]) return next;
  return left(change(next, before, { refusal: "" }), before);
}

/** The console is hidden, or on the screen again. */
export function looked(desk, isHidden) {
  const next = { ...desk, isHidden };
  return isHidden || !next.visitors[next.active] ? next : change(next, next.active, { unread: 0 });
}

/** The agent has stopped it: nothing of it is shown any more, even if updates still come. */
export function stopped(desk, session) {
  return change(desk, session, { epoch: null, ...NOTHING_SEEN, href: "" });
}

/** Whether the picture of a visitor's page is that page as it is now: {words, level, old}. It is current only while page
 *  and gateway have said so in the last seconds, and all that the page has made of updates is on the screen. */
export function picture({ connected, silent_s }, { synced, behindSince, pulse, paused }, now) {
  const age_ms = pulse ? now - pulse.seenAt : null;
  const ago = age_ms === null ? "" : `Last seen ${Math.round(age_ms / 1000)} s ago`;
  if (paused) return { words: paused, level: "poor", old: true };
  if (age_ms !== null && age_ms >= AWAY_MS && !pulse.open) {
    return { words: `The visitor's page is closed or away · ${ago}`, level: "poor", old: true };
  }
  if (age_ms !== null && (age_ms >= OLD_MS || !connected || silent_s > 0)) return { words: ago, level: "poor", old: true };
  if (!synced) return { words: "Waiting for the page…", level: "fair", old: false };
  if (!pulse) return { words: "Waiting for word of the page…", level: "fair", old: !connected || silent_s > 0 };
  if (behindSince !== null && now - behindSince >= BEHIND_MS) return { words: "Catching up…", level: "fair", old: false };
  return { words: "Live", level: "good", old: false };
}

/** How a request ended that was not allowed, or a viewing, for the agent: [in a word, in a sentence]. */
export function refusalWords({ label, refusal }) {
  const ways = {
    __proto__: null,
    declined: ["Declined", `${label} chose “Not now”.`],
    timeout: ["No answer", `${label} did not answer in time.`],
    stopped: ["Viewing stopped", "The visitor has stopped the viewing. Nothing of their page is shown any more."],
    withdrawn: ["Cancelled", "You have cancelled the request."],
    agent_lost: ["Not asked any more", "Your connection was lost, and the request with it."],
    page_lost: ["Gone", `${label} has left the page.`],
    unknown: ["Not asked any more", "The request is over."],
  };
  return ways[refusal] ?? ways.unknown;
}

/** Whether a visitor can be asked to show the page: "" if so, else why not, or null where there is nothing to ask for. */
export function whyNotAsk(desk, { chat, state, epoch, asked, restUntil }) {
  if (epoch !== null || asked !== null || !["offered", "open"].includes(chat)) return null;
  if (!canAct(desk)) return "The service does not answer at present.";
  if (state.cobrowse === "asked") return "Another agent asks this visitor at present.";
  if (state.cobrowse === "joined") return "Another agent sees this page at present.";
  if (state.cobrowse === "stopping") return "The last viewing is just ending.";
  return restUntil === null ? "" : "This visitor has just been asked. Please wait half a minute before you ask again.";
}

/** The frame node has said from when this visitor can be asked again. */
export function resting(desk, session, restUntil) {
  return desk.visitors[session] ? change(desk, session, { restUntil }) : desk;
}

/** The desk at this moment: rests that are over are no more; the same desk if none is. */
export function rested(desk, now) {
  const over = Object.keys(desk.visitors).filter((session) => (desk.visitors[session].restUntil ?? Infinity) <= now);
  return over.reduce((next, session) => change(next, session, { restUntil: null }), desk);
}

/** Whether what the agent asks for can be done at present. */
export function canAct({ connected, silent_s }) {
  return connected && silent_s === 0;
}

export function addressed(desk, session, href) {
  return desk.visitors[session] ? change(desk, session, { href }) : desk;
}

/** Where a visitor is: what a gateway has verified. The page says the rest, and is believed as far as that agrees. */
export function address({ origins, visitors }, session) {
  const { href = "", label: name } = visitors[session];
  const origin = origins[session];
  if (!origin) return name;
  return href.startsWith(`${origin}/`) ? href.replace(HIDDEN, "") : origin;
}

/** Sessions by what they want of the agent; one that is viewed and asks for a chat is in both. */
export function waiting(desk) {
  return Object.keys(desk.visitors).filter((session) => desk.visitors[session].chat === "offered");
}

export function engaged(desk) {
  const { visitors } = desk;
  return Object.keys(visitors).filter((session) => visitors[session].chat !== "offered" || visitors[session].epoch !== null);
}
