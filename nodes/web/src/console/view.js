// The console's elements: shows a desk (story.js), and says what the agent does through `acts`.

import { REFUSALS, canAct, engaged, picture, waiting, whyNotAsk } from "./story.js";

const get = (id) => document.getElementById(id);
const NOTICE_S = 8;
const NEEDS_GATEWAY = [
  "#available, #serving input, #join button, #refresh, #stop, #withdraw, #propose, #end_chat, #say button",
  "#waiting button:not(.ask)",
].join(", ");
const CHAT_WORDS = {
  idle: "There is no chat with this visitor yet.",
  invited: "The visitor was asked, and has not answered yet.",
  closed: "This chat has ended.",
  waiting: "The visitor waits for an agent.",
};

export class View {
  constructor(acts) {
    this.acts = acts;
    /** The desk that is shown; null while the door is. */
    this.desk = null;
    /** id of a list -> what it was made of, as JSON: a list is left alone while that is the same. */
    this.shown = {};
    /** The notice that was shown last. */
    this.noticed = "";
    /** The timer that takes the notice away. */
    this.timer = undefined;
    on("sign_in", "submit", (form) => this.signIn(form));
    on("sign_out", "click", () => acts.signOut());
    on("available", "click", () => acts.available(!this.desk.available));
    on("join", "submit", () => this.join());
    on("ask", "click", () => acts.ask(this.desk.active));
    on("withdraw", "click", () => acts.withdraw(this.desk.active));
    on("refresh", "click", () => acts.refresh());
    on("stop", "click", () => acts.stop(this.desk.active));
    on("propose", "click", () => acts.propose(this.desk.active));
    on("end_chat", "click", () => acts.endChat(this.desk.active));
    on("say", "submit", () => this.say());
    get("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.say();
    });
  }

  // ── the door ───────────────────────────────────────────────────────────────────────────────────────────────────

  door(words) {
    get("desk").hidden = true;
    get("door").hidden = false;
    get("door_words").textContent = words;
    this.desk = null;
    get("sign_in").agent.focus();
  }

  async signIn(form) {
    const button = form.querySelector("button");
    button.disabled = true;
    const words = await this.acts.signIn(form.agent.value.trim(), form.password.value);
    button.disabled = false;
    form.password.value = "";
    get("door_words").textContent = words ?? "";
    if (words) form.password.focus();
  }

  // ── the desk ───────────────────────────────────────────────────────────────────────────────────────────────────

  show(desk) {
    const first = this.desk === null;
    this.desk = desk;
    get("door").hidden = true;
    get("desk").hidden = false;
    get("who").textContent = desk.name;
    get("available").setAttribute("aria-checked", String(desk.available));
    this.list("serving", desk.buttons.map((id) => [id, desk.serving.includes(id)]), (entry) => this.serving(entry), 1);
    this.list("waiting", waiting(desk).map((session) => row(desk, session)), (entry) => this.offered(entry));
    this.list("visitors", engaged(desk).map((session) => row(desk, session)), (entry) => this.visitor(entry));
    this.showPage(desk);
    this.showChat(desk);
    this.enable(canAct(desk));
    if (desk.notice !== this.noticed) this.notice(desk.notice);
    const unread = Object.values(desk.visitors).reduce((sum, each) => sum + (each.unread ?? 0), waiting(desk).length);
    document.title = unread ? `(${unread}) Agent console` : "Agent console";
    if (first) get("code").focus();
  }

  /** Show entries in a list, whose first `kept` elements stay; what has the keyboard keeps it. */
  list(id, entries, make, kept = 0) {
    const key = JSON.stringify(entries);
    if (this.shown[id] === key) return;
    this.shown[id] = key;
    const place = get(id);
    const held = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    while (place.childElementCount > kept) place.lastElementChild.remove();
    place.append(...entries.map(make));
    if (held) [...place.querySelectorAll("[data-key]")].find((each) => each.dataset.key === held)?.focus();
  }

  serving([id, on]) {
    const box = element("input", { type: "checkbox", checked: on });
    box.dataset.key = id;
    box.addEventListener("change", () => {
      const { serving, buttons } = this.desk;
      this.acts.serve(buttons.filter((each) => (each === id ? box.checked : serving.includes(each))));
    });
    return element("label", {}, box, id);
  }

  offered({ session, label, button, whyNot }) {
    const accept = this.act(`accept ${session}`, "Accept", () => this.acts.accept(session), "primary");
    const decline = this.act(`decline ${session}`, "Decline", () => this.acts.decline(session));
    const ask = this.act(`ask ${session}`, "Ask to see the page", () => this.acts.ask(session), "ask");
    setDisabled(ask, whyNot ?? "");
    ask.hidden = whyNot === null;
    const words = [element("b", {}, label), element("span", {}, `waits at “${button}”`)];
    return element("li", {}, ...words, accept, decline, ask);
  }

  visitor({ session, label, active, chat, unread, live, asked }) {
    const open = this.act(`open ${session}`, label, () => this.acts.open(session), "open");
    open.setAttribute("aria-current", String(active));
    const marks = [live ? "viewing" : asked ? "asking" : "", { open: "chat", invited: "invited", closed: "ended" }[chat] ?? ""];
    open.append(element("small", {}, marks.filter(Boolean).join(" · ")));
    if (unread) open.append(element("em", { ariaLabel: `${unread} unread` }, String(unread)));
    return element("li", {}, open);
  }

  act(key, words, fun, className = "") {
    const found = element("button", { type: "button", className }, words);
    found.dataset.key = key;
    found.addEventListener("click", fun);
    return found;
  }

  /** What needs the gateway can be used only while that answers. */
  enable(can) {
    const why = can ? "" : "The gateway does not answer at present.";
    for (const each of document.querySelectorAll(NEEDS_GATEWAY)) setDisabled(each, why);
  }

  showPage(desk) {
    const { visitors, active } = desk;
    const visitor = visitors[active];
    const viewing = Boolean(visitor) && visitor.epoch !== null;
    get("bar").hidden = get("stage").hidden = !viewing;
    get("empty").hidden = viewing;
    this.showAge(desk);
    if (!viewing) return this.showEmpty(desk, visitor);
    get("address").textContent = visitor.href || visitor.label;
  }

  /** In the place of a page: why there is none, and what can be done about it. */
  showEmpty(desk, visitor) {
    const whyNot = visitor ? whyNotAsk(desk, visitor) : null;
    const [head, words] = emptyWords(visitor, whyNot);
    get("empty_head").textContent = head;
    get("empty_words").textContent = words;
    get("ask").hidden = whyNot === null;
    get("ask").textContent = visitor?.refusal ? "Ask again" : "Ask to see the page";
    setDisabled(get("ask"), whyNot ?? "");
    get("withdraw").hidden = get("asked_since").hidden = !visitor?.asked;
  }

  /** Say how current the picture is, or how long a request waits; also called as time goes by. */
  showAge(desk, now = performance.now()) {
    const visitor = desk.visitors[desk.active];
    if (visitor?.asked) get("asked_since").textContent = `Asking for ${age(now - visitor.asked.since)}`;
    if (!visitor || visitor.epoch === null) return;
    const { words, level, old } = picture(desk, visitor, now);
    get("live").dataset.level = level;
    if (get("live").textContent !== words) get("live").textContent = words;
    get("stage").dataset.old = String(old);
  }

  showChat({ visitors, active }) {
    const visitor = visitors[active];
    const chat = visitor?.chat ?? "none";
    document.querySelector("aside").dataset.chat = chat;
    get("chat_head").textContent = visitor ? `Chat with ${visitor.label}` : "Chat";
    get("chat_words").textContent = visitor ? (CHAT_WORDS[chat] ?? "") : "Open a visitor to chat.";
    const unseen = chat === "idle" && visitor?.epoch === null; // a stranger, until they have allowed it
    get("propose").hidden = !visitor || unseen || !["idle", "closed"].includes(chat);
    get("end_chat").hidden = !["open", "invited"].includes(chat);
    get("say").hidden = chat !== "open";
    const messages = visitor?.messages ?? [];
    // A page may claim any name for the sender; who writes here is the visitor.
    this.list("log", messages.map((each) => ({ ...each, from: each.own ? "You" : visitor.label })), message);
    get("log").scrollTop = get("log").scrollHeight;
  }

  quality(desk, ms) {
    const [level, words] = quality(desk, ms);
    get("quality").dataset.level = level;
    get("quality").querySelector("span").textContent = words;
  }

  notice(words) {
    this.noticed = words;
    clearTimeout(this.timer);
    get("notices").textContent = words;
    if (words) this.timer = setTimeout(() => get("notices").replaceChildren(), NOTICE_S * 1000);
  }

  async join() {
    const code = get("code").value.trim();
    if (!code) return;
    get("join_words").textContent = "";
    const reply = await this.acts.join(code);
    if (reply.ok) get("code").value = "";
    else get("join_words").textContent = reply.why ?? "That code is not known.";
    get("code").select();
  }

  async say() {
    const text = get("text").value.trim();
    if (!text) return;
    get("text").value = "";
    if (!(await this.acts.say(this.desk.active, text)) && !get("text").value) get("text").value = text;
  }
}

function row(desk, session) {
  const visitor = desk.visitors[session];
  const { label, chat, button, unread = 0, epoch, asked } = visitor;
  const whyNot = whyNotAsk(desk, visitor);
  return { session, label, chat, button, unread, live: epoch !== null, asked, active: desk.active === session, whyNot };
}

function emptyWords(visitor, whyNot) {
  if (!visitor) return ["Nobody's page is open", NOBODY];
  const { label, asked, refusal, chat } = visitor;
  if (asked) return [`Asking ${label} to show the page…`, "Nothing of it leaves their browser before they allow it."];
  if (refusal) return [refusal === "declined" ? `${label}: not now` : `${label}'s page is not open`, REFUSALS[refusal]];
  if (whyNot !== null) return [`${label}'s page is not open`, "They are asked first, and can stop it at any time."];
  const words = chat === "invited" ? "Once they chat with you, you can ask to see the page." : NOBODY;
  return [`${label}'s page is not open`, words];
}

const NOBODY = "Ask the caller for the contact code in their help window, and join by it. Chats that wait appear on the left.";

/** Minutes and seconds. */
function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** A button that cannot be used says why: to the mouse, and to screen readers. */
function setDisabled(button, why) {
  button.disabled = why !== "";
  button.title = why;
}

function quality({ connected, silent_s, lease, covered }, ms) {
  if (connected && silent_s) return ["poor", `No answer for ${Math.round(silent_s)} s`];
  if (ms === null || !connected) return ["none", "Reconnecting…"];
  if (!lease) return ["poor", "No frame node answers"];
  if (!covered) return ["poor", "Part of the mesh is away"];
  const words = `${Math.max(1, Math.round(ms))} ms`;
  if (ms < 150) return ["good", `Good · ${words}`];
  return ms < 500 ? ["fair", `Fair · ${words}`] : ["poor", `Slow · ${words}`];
}

function message({ from, text, own }) {
  return element("li", { className: own ? "own" : "" }, element("span", { className: "from" }, from), text);
}

function on(id, event, fun) {
  get(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    fun(happened.currentTarget);
  });
}

function element(name, properties, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
}
