// What people read when something was not done: by what was asked for, and by the kind of the error. All such words are
// here. What a gateway or a frame node says in its own words is for those who run them, and reaches no screen.

const OTHERWISE = "That was not done. Please try again.";

/** For agents and visitors, by the error's name on the wire. No prototype: a name comes from elsewhere. */
const ERRORS = {
  __proto__: null,
  Busy: "There is too much to do at present. Please try again in a moment.",
  HighWaterMarkReached: "There is too much to do at present. Please try again in a moment.",
  LeaseExpired: "This visitor's page is not there any more.",
  NotAllowed: "This cannot be done here.",
  NotConnected: "There is no connection at present. It comes back by itself.",
  RequestTimeout: "The service does not answer at present. Please try again.",
  ServiceError: "The service does not answer at present. Please try again.",
  StateError: "This is not possible any more, as things have changed meanwhile.",
  UnknownContactCode: "No page has this code. It may be mistyped, used already, or too old: ask the visitor for the present one.",
};

/** For agents, by what they asked for: where more is known than by the error alone. */
const AGENTS = {
  __proto__: null,
  "join NotAllowed": "Too many codes were wrong, or were not allowed. Please wait a minute.",
  "ask NotAllowed": "Only the agent of a chat can ask its visitor. In any other case ask for the code.",
  "ask StateError": "Another agent asks this visitor, or sees the page, at present.",
  "accept NotAllowed": "This chat was offered to somebody else meanwhile.",
  "accept StateError": "This chat was offered to somebody else meanwhile, or the visitor does not wait any more.",
  "decline NotAllowed": "This chat was offered to somebody else meanwhile.",
  "decline StateError": "This chat was offered to somebody else meanwhile, or the visitor does not wait any more.",
  "proactive StateError": "The visitor waits for a chat already, or is in one.",
  "say StateError": "This chat has ended. Your message was not sent.",
  "stop_chat StateError": "There is no chat any more.",
};

/** For visitors, by what they did. What they need not know of is "". */
const VISITORS = {
  __proto__: null,
  trigger: "The chat could not begin. Please try again.",
  "trigger StateError": "You wait for a chat already, or are in one.",
  allow: "Nobody asks to see this page any more.",
  message: "This chat has ended. Your last message was not sent.",
  publish: "That was not sent. Please try again.",
  rate: "That was too much at once. Please wait a moment.",
  bytes: "That was too much at once. Please wait a moment.",
  size: "That is too long to be sent.",
};

/** For agents whose console was closed, by the name of the close code. */
const CLOSED = {
  __proto__: null,
  ended_elsewhere: "This console was closed: it was opened in another window, or you signed out there.",
};

const SIGN_IN = {
  401: "This name and password do not belong together.",
  429: "Too many passwords were wrong. Please wait a few minutes.",
  503: "There is too much to do at present. Please try again in a moment.",
};

/** Why an agent's request was not done. `error`: the name of its kind, if it came with one · left_s: until it may be */
export function notDone(asked, error, left_s) {
  if (error === "AskedTooSoon") return `This visitor has just been asked. You can ask again in ${left_s} s.`;
  return AGENTS[`${asked} ${error}`] ?? ERRORS[error] ?? OTHERWISE;
}

/** Why what a visitor did was not done; "" for what they have not done themselves. */
export function refused(what, error) {
  return VISITORS[`${what} ${error}`] ?? VISITORS[what] ?? "";
}

export function notSignedIn(status) {
  return SIGN_IN[status] ?? "Signing in does not work at present. Please try again in a moment.";
}

export function consoleClosed(name) {
  return CLOSED[name] ?? "The connection was closed. Please sign in again.";
}
