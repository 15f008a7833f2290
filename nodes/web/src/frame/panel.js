// The frame's elements: shows a story (story.js), and says what the visitor does. The chat is loaded when it is needed.

import { guardUnusable, setUsable } from "../shared/usable.js";

const get = (id) => document.getElementById(id);

let act = null;
let chat = null; // a promise of the chat's component, once it was needed

/** acts: publish(rest, payload) in the session, answer("allow" or "decline"), stop(), retry(), dismissChat() */
export function wire(acts) {
  act = acts;
  guardUnusable();
  get("restore").addEventListener("click", () => act.publish("show_frame"));
  get("minimise").addEventListener("click", () => act.publish("minimize_frame"));
  get("close").addEventListener("click", () => (isAsking() ? act.answer("decline") : act.publish("hide_frame")));
  get("allow").addEventListener("click", () => act.answer("allow"));
  get("decline").addEventListener("click", () => act.answer("decline"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isAsking()) return;
    event.preventDefault();
    act.answer("decline");
  });
  get("stop").addEventListener("click", () => act.stop());
  get("retry").addEventListener("click", () => act.retry());
}

export function show(state) {
  document.body.dataset.view = state.view;
  document.body.dataset.connected = String(state.connected);
  get("pill_text").textContent = pill(state);
  get("status").textContent = status(state);
  showRequest(state.ownConsent ? null : state.asked);
  get("viewing").hidden = !state.viewing;
  get("viewing_head").textContent = viewing(state);
  get("paused").textContent = state.paused;
  get("hidden").textContent = hidden(state);
  get("contact").hidden = state.viewing || state.asked !== null;
  get("contact").classList.toggle("beside", ["waiting", "invited", "open"].includes(state.chat));
  const code = current(state);
  get("code").textContent = code ? spaced(code) : "······";
  get("code").classList.toggle("waiting", !code);
  get("retry").hidden = !state.gaveUp;
  if (state.chat !== "idle" || Object.keys(state.buttons).length) showChat(state);
}

/** The keyboard goes to the question, and to neither answer: a key that was meant for the page gives none. */
export function focusCard() {
  if (!isAsking()) return;
  get("asked").focus({ preventScroll: true });
  get("panel").scrollTop = 0;
}

/** What of the page the agent who asks would not see. */
export function tellHidden(words) {
  get("asked_hidden").textContent = words;
}

function isAsking() {
  return !get("asked").hidden;
}

function showRequest(asked) {
  get("asked").hidden = asked === null;
  say(asked ? `${asked.name} asks to see this page` : ""); // who is typing on the page keeps the keyboard, and hears it
  if (!asked) return;
  get("asked_head").textContent = asked.answered ? "One moment…" : `${asked.name} asks to see this page`;
  get("asked_by").textContent = FOUND[asked.by] ?? "";
  setUsable(get("allow"), asked.answered ? "You have allowed it." : ""); // who has allowed it may still think better of it
}

function say(words) {
  if (get("asked_said").textContent !== words) get("asked_said").textContent = words;
}

async function showChat(state) {
  const last = (showChat.last = state);
  chat ??= import("/assets/chat.js").then(({ mount }) => mount(get("chat"), act));
  const component = await chat;
  if (last === showChat.last) component.show(state);
}

/** What of the visitor's typing is hidden, as far as the page has said. */
function hidden({ paused, typing }) {
  if (paused) return "They see nothing of this page at present.";
  const always = "Passwords, card numbers and one-time codes are always hidden.";
  if (typing === false) return `What you type on this page is hidden from them. ${always}`;
  return `This site lets them see what you type in some fields. ${always}`;
}

function viewing({ seen, paused, viewer }) {
  if (paused) return "Viewing is paused";
  return `${viewer || "An agent"} is ${seen ? "viewing" : "connecting to"} this page`;
}

/** The code, if it is one for sure: without the gateway, nobody says when it lapses. */
function current({ connected, code }) {
  return connected ? code : null;
}

function pill(state) {
  const { unread, asked, ownConsent, viewing, seen, chat } = state;
  const code = current(state);
  if (asked && !ownConsent) return `${asked.name} asks to see this page`;
  if (unread) return `${unread} new ${unread === 1 ? "message" : "messages"}`;
  if (viewing) return seen ? "Help · being viewed" : "Help · connecting";
  if (chat === "open") return "Help · chat";
  return code ? `Help · ${spaced(code)}` : "Help";
}

function status({ connected, trouble, refused, note }) {
  if (!connected) return "Connecting…";
  return trouble || refused || note;
}

const FOUND = {
  __proto__: null,
  code: "They have typed your contact code. If you gave it to nobody, choose Not now.",
  chat: "They are the agent of your chat.",
};

/** In groups of three: a code is read out, and typed. */
export function spaced(code) {
  return code.replace(/(.{3})(?=.)/g, "$1 ");
}
