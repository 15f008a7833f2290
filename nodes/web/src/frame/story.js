// What the frame shows, as data: a pure function of what was said so far. `see(state, topic, payload, own)` returns the
// next state; it is told everything that concerns the visitor, in both directions.

import { merged, withLine, withNumber, withSystem } from "../shared/transcript.js";
import { refused } from "../shared/words.js";

export const START = {
  view: "hidden",
  connected: false,
  code: null,
  trouble: "", // words, when no code can be had at present
  gaveUp: false,
  asked: null, // {epoch, name, by, capability, answered: allowed} of an agent's request that waits for the visitor
  ownConsent: false, // the site asks by a dialog of its own
  note: "", // what became of the last request or viewing, in words, until something else happens
  viewing: false, // an agent has the page
  asker: null, // {agent, name} of the last request: what an agent of this id is called
  viewer: "", // the name of who has the page, or had it last; "": it is not known
  seen: false, // its console has said that it shows it
  paused: "", // why nothing of it leaves, in words
  typing: null, // whether the agent sees something of what is typed on the page; null: not known
  buttons: {}, // id -> enabled
  chat: "idle", // idle, waiting, invited, open, closed
  refused: "", // why the last thing was not done, in words
  messages: [], // of the present chat, or the last one until it is dismissed; see shared/transcript.js
  unread: 0, // of the agent's, since the visitor saw the chat last
};
const MAX_KEPT = 60_000; // units of text, of which each takes four bytes at most; a gateway takes 256 kB
// No prototype: what peers name is looked up in these, and `constructor` or `toString` is not there.
const STOPPED = "Viewing has stopped. Nobody sees this page.";
/** What happens in a chat: what became of a request before it is no news any more. */
const CHATS = new Set(["chat/trigger", "proactive/trigger", "chat/accepted", "chat/stop", "chat/message"]);
const VIEWS = { __proto__: null, show_frame: "shown", minimize_frame: "minimised", hide_frame: "hidden" };

export function see(state, topic, payload, own = false) {
  const name = topic.replace(/^~(site_connect|pagesession|)\/(site_connect\/)?/, "");
  if (name in VIEWS) return seen({ ...state, view: VIEWS[name] });
  const [, button, turn] = name.match(/^chat_button\/(.*)\/(enabled|disabled)$/) ?? [];
  if (button) return { ...state, buttons: { ...state.buttons, [button]: turn === "enabled" } };
  const step = STEPS[name];
  if (!step) return state;
  return step(CHATS.has(name) ? { ...state, note: "" } : state, payload ?? {}, own);
}

const STEPS = {
  __proto__: null,
  ready: withCode,
  new_code: withCode,
  retry: (state) => ({ ...state, code: null, trouble: "Getting a contact code takes a little longer…" }),
  error: (state) => ({ ...state, code: null, trouble: "There is no contact code at present.", gaveUp: true }),
  refused: (state, { what, error }) => {
    const chat = what === "trigger" && state.chat === "waiting" ? ended(state) : state.chat;
    return { ...state, chat, refused: refused(what, error) || state.refused };
  },
  connection: (state, { connected }) => ({ ...state, connected: connected === true }),
  "cobrowsing/asked": (state, { epoch, name, agent, by, capability }) => {
    const asked = { epoch, name: String(name ?? agent ?? ""), by, capability, answered: false };
    return { ...state, asked, asker: { agent, name: asked.name }, note: "", code: null };
  },
  "cobrowsing/allow": (state, { epoch }, own) =>
    own && epoch === state.asked?.epoch ? { ...state, asked: { ...state.asked, answered: true } } : state,
  "cobrowsing/decline": (state, { epoch }, own) => (own ? declined(state, epoch, "declined") : state),
  "cobrowsing/declined": (state, { epoch, reason }) => declined(state, epoch, reason),
  "cobrowsing/start": (state, { agent }) => {
    const viewer = agent !== undefined && state.asker?.agent === agent ? state.asker.name : "";
    return { ...state, asked: null, viewer, note: "", viewing: true, seen: false, paused: "", code: null };
  },
  "cobrowsing/stop": unviewed,
  "cobrowsing/shown": (state) => ({ ...state, seen: true }),
  "cobrowsing/paused": (state, { why }) => ({ ...state, paused: String(why) }),
  "cobrowsing/resumed": (state) => ({ ...state, paused: "" }),
  "chat/trigger": (state) => {
    if (state.chat === "invited") return { ...state, chat: "open", refused: "", messages: [] };
    return { ...state, chat: "waiting", refused: "" };
  },
  "proactive/trigger": (state) => ({ ...state, chat: "invited" }),
  "chat/accepted": (state) =>
    state.chat === "open" ? state : { ...state, chat: "open", refused: "", messages: [], unread: 0 },
  "chat/joined": (state, { name, at }) => {
    const words = `${name} joined`;
    if (state.messages.some(({ isSystem, text }) => isSystem && text === words)) return state;
    return { ...state, messages: withSystem(state.messages, words, at) };
  },
  "chat/stop": (state) => ({ ...state, chat: ended(state) }),
  "chat/message": (state, payload, own) => {
    const messages = withLine(state.messages, payload, own);
    if (messages === state.messages) return state;
    return seen({ ...state, messages, unread: own ? 0 : state.unread + 1 });
  },
};

/** What an end makes of the chat: what was said can be read still. */
function ended({ messages, chat }) {
  return chat === "open" || messages.length ? "closed" : "idle";
}

/** The visitor has read a chat that has ended. */
export function dismissed(state) {
  return state.chat === "closed" ? { ...state, chat: "idle", messages: [], unread: 0, refused: "" } : state;
}

/** The gateway has numbered a line of the chat, and sealed it. */
export function numbered(state, line) {
  return { ...state, messages: withNumber(state.messages, line) };
}

/** The gateway says what it holds of the chat, {agent, lines}. Who has dismissed it does not see it again. */
export function withChat(state, chat) {
  if (!chat || !["open", "closed"].includes(state.chat)) return state;
  return { ...state, messages: merged(state.messages, chat.lines, ({ by }) => by === "page") };
}

/** What a gateway is given of an open chat that may not know it any more: its sealed lines, the newest that fit into one
 *  message; null without any. */
export function kept({ chat, messages }) {
  const lines = messages.filter(({ seal }) => seal);
  const { agent } = lines.at(-1) ?? {};
  if (chat !== "open" || !agent) return null;
  const same = lines.filter((each) => each.agent === agent);
  while (JSON.stringify(same).length > MAX_KEPT) same.shift();
  return { agent, lines: same.map(({ n, own, from, text, id, at, seal }) => ({ n, by: own ? "page" : agent, from, text, id, at, seal })) };
}

/** A page that has a code is seen by nobody, and asked by nobody. */
function withCode(state, { code }) {
  const now = code ? { ...unviewed(state), asked: null } : state;
  return { ...now, code, trouble: "", gaveUp: false };
}

/** No agent has the page. */
export function unviewed(state) {
  return { ...state, viewing: false, paused: "", note: state.viewing ? STOPPED : state.note };
}

/** Whether what is shown needs the tall window. */
export function needsRoom({ chat, asked, messages, viewing }) {
  return ["invited", "open"].includes(chat) || asked !== null || messages.length > 0 || (viewing && chat !== "idle");
}

function declined(state, epoch, reason) {
  if (epoch !== state.asked?.epoch) return state;
  const { name } = state.asked;
  const words = {
    __proto__: null,
    declined: "You chose not to show this page. Nobody sees it.",
    timeout: `${name} asked to see this page. Nobody answered, so nothing was shown.`,
    withdrawn: `${name} does not ask any more. Nothing was shown.`,
  };
  return { ...state, asked: null, note: words[reason] ?? "The request is over. Nothing was shown." };
}

/** What is on the screen has been read. */
function seen(state) {
  return state.view === "shown" ? { ...state, unread: 0 } : state;
}

/** The state that another page of the site, or the gateway, says this one begins with. */
export function resumed(state, kept, said) {
  const { view = state.view, chat = state.chat, messages = [], unread = 0, asker = null } = kept;
  const now = { ...state, view, chat, messages, unread, asker };
  if (!said) return now;
  const known = { offered: "waiting" }[said.chat] ?? said.chat;
  if (known === "open") return { ...now, view: said.visibility, chat: known };
  const over = messages.length ? "closed" : "idle"; // without lines there is nothing to be read, or it was
  return { ...now, view: said.visibility, chat: ["idle", "closed"].includes(known) ? over : known };
}
