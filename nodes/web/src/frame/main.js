// frame.js: the visitor's frame. It holds the WebSocket, stands between the page and the gateway, and shows the code
// and the chat. It speaks with the one page that holds it, whose origin the browser says with its first greeting.

import { Connection } from "./connection.js";
import { recall, remember } from "./memory.js";
import { START, resumed, see } from "./story.js";
import { focusCard, show, wire } from "./panel.js";

let state = resumed({ ...START }, recall("story", {}));
let pageOrigin = null;
let choices = 0; // of the view that the page has made, as far as the frame has heard

const connection = new Connection({
  instance: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
  open: () => new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws/page`),
  after: (seconds, fun) => {
    const timer = setTimeout(fun, seconds * 1000);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  kept: { get: recall, set: remember },
  tell: fromGateway,
});

function tellPage(message) {
  if (pageOrigin) window.parent.postMessage({ site_connect: 1, ...message }, pageOrigin);
}

function become(next) {
  if (needsRoom(next) !== needsRoom(state)) tellPage({ t: "room", tall: needsRoom(next) });
  state = next;
  remember("story", { view: state.view, chat: state.chat, messages: state.messages });
  show(state);
}

function needsRoom({ chat, viewing, asked, messages }) {
  return chat === "open" || viewing || asked !== null || messages.length > 0;
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
  if (view) become({ ...state, view });
  else show(state);
  tellPage({ t: "ready" });
  tellView();
  tellPage({ t: "room", tall: needsRoom(state) });
  if (first) connection.start({ origin, buttons });
}

function fromPage({ site_connect: _, ...message }) {
  if (message.t === "view") {
    choices = message.choices;
    return become({ ...state, view: message.view });
  }
  if (message.t === "consent") return become({ ...state, ownConsent: message.own });
  if (message.t === "focus") return focusCard();
  if (message.t === "publish") become(see(state, message.topic, message.payload, true));
  if (message.t === "stop") become({ ...state, viewing: false });
  return connection.send(message);
}

function fromGateway(said) {
  if (said.t === "welcome") {
    if (said.fresh) become({ ...resumed(state, state, said.state), asked: null }); // what is asked now is retained
    for (const { topic, payload } of said.retained) become(see(state, topic, payload));
    for (const { topic, payload } of said.unsaid) become(see(state, topic, payload, true));
    if (said.fresh) tellView();
    const { unsaid: _, ...rest } = said;
    return tellPage({ ...rest, retained: said.retained.map(typed) });
  }
  if (said.t === "connection") {
    const { t: _, ...payload } = said;
    return fromGateway({ t: "site", topic: "~/site_connect/connection", payload });
  }
  if (said.t === "site" || (said.t === "message" && !said.ids)) become(see(state, said.topic, said.payload));
  if (said.t === "retained") return tellPage({ ...said, messages: said.messages.map(typed) });
  return tellPage(typed(said));
}

/** No topic under ~/ crosses to the page: the frame says what happened by `name`, and the script publishes it. */
function typed({ topic, payload, ...rest }) {
  const own = "~/site_connect/";
  return topic?.startsWith(own) ? { ...rest, name: topic.slice(own.length), payload } : { ...rest, topic, payload };
}

wire({
  publish: (rest, payload = {}) => tellPage({ t: "act", topic: `~pagesession/${rest}`, payload }),
  answer: (answer) => tellPage({ t: "act", topic: `~pagesession/cobrowsing/${answer}`, payload: { epoch: state.asked.epoch } }),
  stop: () => tellPage({ t: "stop" }),
  retry: () => connection.send({ t: "retry" }),
  dismiss: () => become({ ...state, refused: "" }),
});
show(state);

window.addEventListener("pagehide", () => connection.close());
window.addEventListener("pageshow", ({ persisted }) => persisted && connection.dial());
window.addEventListener("online", () => connection.hurry());
