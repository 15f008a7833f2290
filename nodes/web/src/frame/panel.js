// The frame's elements: shows a story (story.js), and says what the visitor does. The chat is loaded when it is needed.

const get = (id) => document.getElementById(id);

let act = null;
let chat = null; // a promise of the chat's component, once it was needed

/** acts: publish(rest, payload) in the session, stop(), retry(), dismissChat() */
export function wire(acts) {
  act = acts;
  get("restore").addEventListener("click", () => act.publish("show_frame"));
  get("minimise").addEventListener("click", () => act.publish("minimize_frame"));
  get("close").addEventListener("click", () => act.publish("hide_frame"));
  get("stop").addEventListener("click", () => act.stop());
  get("retry").addEventListener("click", () => act.retry());
}

export function show(state) {
  document.body.dataset.view = state.view;
  document.body.dataset.connected = String(state.connected);
  get("pill_text").textContent = pill(state);
  get("restore").ariaLabel = `Show the help window${state.unread ? `: ${pill(state)}` : ""}`;
  get("status").textContent = status(state);
  get("viewing").hidden = !state.viewing;
  get("viewing_head").textContent = viewing(state);
  get("paused").textContent = state.paused;
  get("contact").hidden = state.viewing || state.chat === "open";
  get("code").textContent = state.code ? spaced(state.code) : "······";
  get("code").classList.toggle("waiting", !state.code);
  get("retry").hidden = !state.gaveUp;
  if (state.chat !== "idle" || Object.keys(state.buttons).length) showChat(state);
}

async function showChat(state) {
  const last = (showChat.last = state);
  chat ??= import("/assets/chat.js").then(({ mount }) => mount(get("chat"), act));
  const component = await chat;
  if (last === showChat.last) component.show(state);
}

function viewing({ seen, paused }) {
  if (paused) return "Viewing is paused";
  return seen ? "An agent is viewing this page" : "An agent is connecting to this page";
}

function pill({ unread, viewing, seen, code, chat }) {
  if (unread) return `${unread} new ${unread === 1 ? "message" : "messages"}`;
  if (viewing) return seen ? "Help · being viewed" : "Help · connecting";
  if (chat === "open") return "Help · chat";
  return code ? `Help · ${spaced(code)}` : "Help";
}

function status({ connected, trouble, refused }) {
  if (!connected) return "Connecting…";
  return trouble || refused;
}

/** In groups of three: a code is read out, and typed. */
export function spaced(code) {
  return code.replace(/(.{3})(?=.)/g, "$1 ");
}
