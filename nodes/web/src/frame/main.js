// frame.js: the visitor's frame. It holds the WebSocket, stands between the page and the gateway, and shows the code
// and the chat. It speaks with the one page that holds it, whose origin the browser says with its first greeting.

import { Connection } from "./connection.js";
import { hiddenWords } from "./hidden.js";
import { recall, remember } from "./memory.js";
import { wireKeyboard } from "./keyboard.js";
import { START, dismissed, kept, needsRoom, numbered, resumed, see, unviewed, withChat } from "./story.js";
import { focusCard, show, tellHidden, wire } from "./panel.js";

let state = resumed({ ...START }, recall("story", {}));
let pageOrigin = null;
let retained = []; // the states that the gateway has said a late subscriber is told
let choices = 0; // of the view that the page has made, as far as the frame has heard
let rules = null; // the operator's, as the gateway has told them
let privacy = null; // what the page says of it while it asks, as JSON
let unseen = null; // the timer that says that the agent's console shows the page no more

const SEEN = "~pagesession/cobrowsing/shown"; // the agent's console says so every two seconds
const SEEN_MS = 6_000;

const connection = new Connection({
  instance: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
  open: () => new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws/page`),
  after: (seconds, fun) => {
    const timer = setTimeout(fun, seconds * 1000);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  kept: { get: recall, set: remember },
  chat: () => kept(state),
  tell: fromGateway,
});

function tellPage(message) {
  if (pageOrigin) window.parent.postMessage({ site_connect: 1, ...message }, pageOrigin);
}

function become(next) {
  if (needsRoom(next) !== needsRoom(state)) tellPage({ t: "room", tall: needsRoom(next) });
  const isCountNew = next.unread !== state.unread;
  state = next;
  const { view, chat, messages, unread, asker } = state;
  remember("story", { view, chat, messages, unread, asker });
  show(state);
  keyboard.kept();
  if (isCountNew) tellUnread();
}

/** The page is told how many messages wait to be read, also its subscribers that come later. */
function tellUnread() {
  tellPage({ t: "site", ...unreadCount() });
  tellPage({ t: "retained", messages: withUnread() });
}

function unreadCount() {
  return { name: "chat/unread", payload: { count: state.unread } };
}

function withUnread() {
  return [...retained.map(typed), ...(state.unread ? [unreadCount()] : [])];
}

window.addEventListener("message", ({ data, origin, source }) => {
  if (source !== window.parent || data?.site_connect !== 1) return;
  if (pageOrigin !== null && origin !== pageOrigin) return;
  if (data.t === "hello") greeted(data, origin);
  else if (pageOrigin !== null) fromPage(data);
});

function tellView() {
  tellPage({ t: "view", view: state.view, choices });
}

function greeted(hello, origin) {
  const { view, buttons, subscriptions, ownConsent } = hello;
  const first = pageOrigin === null;
  pageOrigin = origin;
  choices = hello.choices;
  connection.hold(subscriptions);
  become({ ...state, ownConsent });
  connection.hasMade(hello.made);
  state = { ...state, typing: hello.typing ?? null };
  if (view) become({ ...state, view });
  else show(state);
  tellPage({ t: "ready" });
  tellView();
  tellPage({ t: "room", tall: needsRoom(state) });
  if (first) connection.start({ origin, buttons });
}

/** What the card says is hidden. The page says the same again and again while it asks. */
function aboutPrivacy(said) {
  if (said === privacy) return;
  privacy = said;
  showHidden();
}

function showHidden() {
  if (privacy !== null) tellHidden(hiddenWords(rules, JSON.parse(privacy), isSelector));
}

function isSelector(text) {
  try {
    document.documentElement.matches(text);
    return true;
  } catch {
    return false;
  }
}

function fromPage({ site_connect: _, ...message }) {
  if (message.t === "view") {
    choices = message.choices;
    return become({ ...state, view: message.view });
  }
  if (message.t === "typing") return become({ ...state, typing: message.isShown });
  if (message.t === "enter") {
    keyboard.enter(message.last);
    return message.last ? undefined : focusCard(); // the question is read before its answers
  }
  if (message.t === "privacy") return aboutPrivacy(message.privacy);
  if (message.t === "consent") return become({ ...state, ownConsent: message.own });
  if (message.t === "focus") return focusCard();
  if (message.t === "publish") become(see(state, message.topic, message.payload, true));
  if (message.t === "stop") become(unviewed(state));
  return connection.send(message);
}

function fromGateway(said) {
  if (said.rules) {
    rules = said.rules;
    showHidden();
  }
  if (said.t === "welcome") {
    retained = said.retained;
    if (said.fresh) become({ ...resumed(state, state, said.state), asked: null }); // what is asked now is retained
    become(withChat(state, said.chat));
    for (const { topic, payload } of said.retained) become(see(state, topic, payload));
    for (const { topic, payload } of said.unsaid) become(see(state, topic, payload, true));
    if (said.fresh) tellView();
    const { unsaid: _, chat: __, ...rest } = said;
    return tellPage({ ...rest, retained: withUnread() });
  }
  if (said.t === "connection") {
    const { t: _, ...payload } = said;
    return fromGateway({ t: "site", topic: "~/site_connect/connection", payload });
  }
  if (said.topic === SEEN) {
    clearTimeout(unseen);
    unseen = setTimeout(() => become({ ...state, seen: false }), SEEN_MS);
  }
  if (said.t === "line") return become(numbered(state, said));
  if (said.t === "site" || (said.t === "message" && !said.ids)) become(see(state, said.topic, said.payload));
  if (said.t === "retained") {
    retained = said.messages;
    return tellPage({ ...said, messages: withUnread() });
  }
  return tellPage(typed(said));
}

/** No topic under ~/ crosses to the page: the frame says what happened by `name`, and the script publishes it. */
function typed({ topic, payload, ...rest }) {
  const own = "~/site_connect/";
  return topic?.startsWith(own) ? { ...rest, name: topic.slice(own.length), payload } : { ...rest, topic, payload };
}

const publish = (rest, payload = {}) => tellPage({ t: "act", topic: `~pagesession/${rest}`, payload });
const keyboard = wireKeyboard({
  close: () => {
    if (state.asked && !state.ownConsent) return; // Escape is an answer then, see panel.js
    publish(state.viewing || needsRoom(state) ? "minimize_frame" : "hide_frame");
  },
  leave: (back) => tellPage({ t: "leave", back }),
});

wire({
  publish,
  answer: (answer) => publish(`cobrowsing/${answer}`, { epoch: state.asked.epoch }),
  stop: () => tellPage({ t: "stop" }),
  retry: () => connection.send({ t: "retry" }),
  dismissChat: () => {
    const { viewing } = state;
    become(dismissed(state));
    connection.send({ t: "dismiss" });
    if (!viewing) tellPage({ t: "act", topic: "~pagesession/hide_frame", payload: {} });
  },
});
show(state);

window.addEventListener("pagehide", () => connection.close());
window.addEventListener("pageshow", ({ persisted }) => persisted && connection.dial());
window.addEventListener("online", () => connection.hurry());
