// The chat in the visitor's frame; loaded when a page has chat buttons, or an agent proposes a chat.

import { element, keepAtEnd, line } from "./lines.js";
import { setUsable } from "./usable.js";

export function mount(section, act) {
  const words = element("p", { role: "status" });
  const actions = element("div", { className: "actions" });
  const log = element("ol", { className: "log", ariaLabel: "Messages", tabIndex: 0 });
  const room = element("div", { className: "messages", role: "log", ariaLabel: "Messages" }, log);
  const input = element("input", { ariaLabel: "Your message", placeholder: "Write a message", maxLength: 4000 });
  input.autocomplete = "off";
  const send = element("button", { className: "primary", textContent: "Send" });
  const form = element("form", {}, input, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    act.publish("chat/message", { from: "visitor", text, id, at: Date.now() / 1000 });
    input.value = "";
  });
  section.append(words, actions, room, form);
  const toEnd = keepAtEnd(log);
  let before = "";
  let shown = "";
  let was = ""; // the chat's state that was shown last
  let isEager = false; // the box is to have the focus, once the visitor is in this window

  // A visitor who types on the page must not find it in the chat: the frame never takes the focus from the page.
  function focus() {
    if (!isEager || !document.hasFocus()) return;
    isEager = false;
    input.focus();
  }
  window.addEventListener("focus", focus);

  function show({ chat, buttons, messages, connected }) {
    const open = chat === "open";
    words.textContent = SAYS[chat] ?? "";
    words.hidden = !words.textContent;
    room.hidden = !messages.length && !open;
    form.hidden = !open;
    setUsable(send, connected ? "" : NO_CONNECTION);
    if (open && was !== chat) isEager = was !== "";
    was = chat;
    const doable = offers(chat, buttons);
    const key = JSON.stringify(doable);
    if (key !== before) {
      before = key;
      const held = actions.contains(document.activeElement);
      actions.replaceChildren(...doable.map((each) => button(each, act)));
      if (held && !open) (actions.querySelector("button:not([aria-disabled])") ?? section).focus();
    }
    focus();
    const lines = JSON.stringify(messages.map(({ id, at, text }) => [id ?? text, at]));
    if (lines === shown) return;
    shown = lines;
    log.replaceChildren(...messages.map((each) => line({ ...each, from: each.own ? "" : each.from })));
    toEnd();
  }
  return { show };
}

const NO_CONNECTION = "There is no connection at present. It comes back by itself.";
const SAYS = {
  waiting: "An agent will be with you in a moment.",
  invited: "An agent would like to help you. Shall we chat?",
  closed: "This chat has ended.",
};

/** What can be done now: {words, rest, payload, enabled}; without `rest` it is dismissed. */
function offers(chat, buttons) {
  const stop = (words) => ({ words, rest: "chat/stop", payload: {}, enabled: true });
  if (chat === "waiting") return [stop("Stop waiting")];
  if (chat === "open") return [stop("End chat")];
  const ids = Object.keys(buttons);
  if (chat === "invited") {
    const trigger = { words: "Start chat", rest: "chat/trigger", payload: { button: ids[0] ?? "chat" }, enabled: true };
    return [{ ...trigger, primary: true }, stop("No, thank you")];
  }
  const one = chat === "closed" ? "Start a new chat" : "Chat with us";
  const starts = ids.map((id) => ({
    words: ids.length > 1 ? `Chat: ${id}` : one,
    rest: "chat/trigger",
    payload: { button: id },
    enabled: buttons[id],
    primary: true,
  }));
  return chat === "closed" ? [{ words: "Dismiss", enabled: true }, ...starts] : starts;
}

function button({ words, rest, payload, enabled, primary }, act) {
  const found = element("button", { type: "button", textContent: words });
  if (primary) found.className = "primary";
  setUsable(found, enabled ? "" : "No agent is available at present.");
  found.addEventListener("click", () => (rest ? act.publish(rest, payload) : act.dismissChat()));
  return found;
}
