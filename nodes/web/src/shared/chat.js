// The chat in the visitor's frame; loaded when a page has chat buttons, or an agent proposes a chat.

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
    act.publish("chat/message", { from: "visitor", text, id: crypto.getRandomValues(new Uint32Array(2)).join("-") });
    input.value = "";
  });
  section.append(words, actions, room, form);
  let before = "";

  function show({ chat, buttons, messages, connected }) {
    const open = chat === "open";
    words.textContent = SAYS[chat] ?? "";
    words.hidden = !words.textContent;
    room.hidden = !messages.length && !open;
    form.hidden = !open;
    send.disabled = !connected;
    const doable = offers(chat, buttons);
    const key = JSON.stringify(doable);
    if (key !== before) {
      before = key;
      const held = actions.contains(document.activeElement);
      actions.replaceChildren(...doable.map((each) => button(each, act)));
      if (held) (actions.querySelector("button:enabled") ?? (open ? input : section)).focus();
    }
    if (log.childElementCount !== messages.length || log.lastId !== messages.at(-1)?.id) {
      log.replaceChildren(...messages.map(line));
      log.lastId = messages.at(-1)?.id;
      log.scrollTop = log.scrollHeight;
    }
  }
  return { show };
}

const SAYS = {
  waiting: "An agent will be with you in a moment.",
  invited: "An agent would like to help you. Shall we chat?",
  closed: "This chat has ended.",
};

/** What can be done now: {words, rest, payload, enabled}. */
function offers(chat, buttons) {
  const stop = (words) => ({ words, rest: "chat/stop", payload: {}, enabled: true });
  if (chat === "waiting") return [stop("Do not wait")];
  if (chat === "open") return [stop("End chat")];
  const ids = Object.keys(buttons);
  if (chat === "invited") {
    const trigger = { words: "Start chat", rest: "chat/trigger", payload: { button: ids[0] ?? "chat" }, enabled: true };
    return [{ ...trigger, primary: true }, stop("No, thank you")];
  }
  return ids.map((id) => ({
    words: ids.length > 1 ? `Chat: ${id}` : "Chat with us",
    rest: "chat/trigger",
    payload: { button: id },
    enabled: buttons[id],
    primary: true,
  }));
}

function button({ words, rest, payload, enabled, primary }, act) {
  const found = element("button", { type: "button", textContent: words, disabled: !enabled });
  if (primary) found.className = "primary";
  if (!enabled) found.title = "No agent is available at present";
  found.addEventListener("click", () => act.publish(rest, payload));
  return found;
}

function line({ from, text, own }) {
  const who = element("span", { className: "who", textContent: own ? "" : from });
  who.hidden = own;
  return element("li", { className: own ? "own" : "" }, who, text);
}

function element(name, properties, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
}
