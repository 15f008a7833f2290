// What the frame shows, as data: a pure function of what was said so far. `see(state, topic, payload, own)` returns the
// next state; it is told everything that concerns the visitor, in both directions.

export const START = {
  view: "hidden",
  connected: false,
  code: null,
  trouble: "", // words, when no code can be had at present
  gaveUp: false,
  asked: null, // {epoch, name, by, capability, answered} of an agent's request that waits for the visitor
  ownConsent: false, // the site asks by a dialog of its own
  note: "", // what became of the last request, in words
  viewing: false, // an agent has the page
  seen: false, // its console has said that it shows it
  paused: "", // why nothing of it leaves, in words
  buttons: {}, // id -> enabled
  chat: "idle", // idle, waiting, invited, open, closed
  refused: "", // why the last thing was not done
  messages: [], // {from, text, id, own}
  unread: 0,
};
const MAX_MESSAGES = 200;
// No prototype: what peers name is looked up in these, and `constructor` or `toString` is not there.
const VIEWS = { __proto__: null, show_frame: "shown", minimize_frame: "minimised", hide_frame: "hidden" };

export function see(state, topic, payload, own = false) {
  const name = topic.replace(/^~(site_connect|pagesession|)\/(site_connect\/)?/, "");
  if (name in VIEWS) return seen({ ...state, view: VIEWS[name] });
  const [, button, turn] = name.match(/^chat_button\/(.*)\/(enabled|disabled)$/) ?? [];
  if (button) return { ...state, buttons: { ...state.buttons, [button]: turn === "enabled" } };
  const step = STEPS[name];
  return step ? step(state, payload ?? {}, own) : state;
}

const STEPS = {
  __proto__: null,
  ready: withCode,
  new_code: withCode,
  retry: (state) => ({ ...state, code: null, trouble: "Getting a contact code takes a little longer…" }),
  error: (state) => ({ ...state, code: null, trouble: "There is no contact code at present.", gaveUp: true }),
  refused: (state, { what, why }) => {
    const chat = what === "trigger" && state.chat === "waiting" ? "closed" : state.chat;
    return { ...state, chat, refused: what === "update" ? "" : String(why) };
  },
  connection: (state, { connected }) => ({ ...state, connected: connected === true }),
  "cobrowsing/asked": (state, { epoch, name, agent, by, capability }) => {
    const asked = { epoch, name: String(name ?? agent ?? ""), by, capability, answered: false };
    return { ...state, asked, note: "", code: null };
  },
  "cobrowsing/allow": (state, { epoch }, own) =>
    own && epoch === state.asked?.epoch ? { ...state, asked: { ...state.asked, answered: true } } : state,
  "cobrowsing/decline": (state, { epoch }, own) => (own ? declined(state, epoch, "declined") : state),
  "cobrowsing/declined": (state, { epoch, reason }) => declined(state, epoch, reason),
  "cobrowsing/start": (state) => ({ ...state, asked: null, note: "", viewing: true, seen: false, paused: "", code: null }),
  "cobrowsing/stop": (state) => ({ ...state, viewing: false, paused: "" }),
  "cobrowsing/shown": (state) => ({ ...state, seen: true }),
  "cobrowsing/paused": (state, { why }) => ({ ...state, paused: String(why) }),
  "cobrowsing/resumed": (state) => ({ ...state, paused: "" }),
  "chat/trigger": (state) => ({ ...state, chat: state.chat === "invited" ? "open" : "waiting", refused: "" }),
  "proactive/trigger": (state) => ({ ...state, chat: "invited", messages: [] }),
  "chat/accepted": (state) => (state.chat === "open" ? state : { ...state, chat: "open", refused: "", messages: [] }),
  "chat/stop": (state) => ({ ...state, chat: state.chat === "open" ? "closed" : "idle" }),
  "chat/message": (state, payload, own) => {
    const { from, text, id } = payload;
    if (typeof text !== "string" || state.messages.some((each) => id && each.id === id)) return state;
    const messages = [...state.messages, { from: String(from ?? ""), text, id, own }].slice(-MAX_MESSAGES);
    return seen({ ...state, messages, unread: own ? 0 : state.unread + 1 });
  },
};

/** A page that has a code is seen by nobody, and asked by nobody. */
function withCode(state, { code }) {
  const rest = code ? { viewing: false, asked: null } : {};
  return { ...state, code, trouble: "", gaveUp: false, ...rest };
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
  const { chat, messages } = kept;
  const now = { ...state, view: kept.view ?? state.view, chat: chat ?? state.chat, messages: messages ?? [] };
  if (!said) return now;
  const known = { offered: "waiting" }[said.chat] ?? said.chat;
  const readable = ["open", "closed"].includes(known) ? now.messages : [];
  return { ...now, view: said.visibility, chat: known, messages: readable };
}
