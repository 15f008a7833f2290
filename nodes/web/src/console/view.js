// The console's elements: shows a desk (story.js), and says what the agent does through `acts`.

import { guardUnusable, setUsable } from "../shared/usable.js";
import { notDone } from "../shared/words.js";
import { ChatPanel } from "./chat.js";
import { address, canAct, engaged, picture, refusalWords, waiting, whyNotAsk } from "./story.js";

const get = (id) => document.getElementById(id);
const NOTICE_S = 8;
const NEEDS_GATEWAY = [
  "#available, #serving input, #join button, #refresh, #stop, #withdraw, #propose, #end_chat, #dismiss, #say button",
  "#waiting button:not(.ask)",
].join(", ");

const MARKS = { open: "chat", offered: "asks for a chat", invited: "invited", closed: "ended" };

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
    guardUnusable();
    on("sign_in", "submit", (form) => this.signIn(form));
    on("sign_out", "click", () => acts.signOut());
    on("available", "click", () => acts.available(!this.desk.available));
    on("join", "submit", () => this.join());
    on("ask", "click", () => acts.ask(this.desk.active));
    on("withdraw", "click", () => acts.withdraw(this.desk.active));
    on("refresh", "click", () => acts.refresh());
    on("stop", "click", () => acts.stop(this.desk.active));
    this.chat = new ChatPanel(acts);
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
    this.chat.show(desk);
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
    setUsable(ask, whyNot ?? "");
    ask.hidden = whyNot === null;
    const words = [element("b", {}, label), element("span", {}, `asks for a chat (${button})`)];
    return element("li", {}, ...words, accept, decline, ask);
  }

  visitor({ session, label, active, chat, unread, live, asked, refusal, away, gone }) {
    const open = this.act(`open ${session}`, label, () => this.acts.open(session), "open");
    open.setAttribute("aria-current", String(active));
    const here = gone ? "has left" : away ? "away" : "";
    const sight = live ? "viewing" : asked ? "asking" : refusal;
    const marks = [sight, MARKS[chat] ?? "", here];
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
    const why = can ? "" : "The service does not answer at present.";
    for (const each of document.querySelectorAll(NEEDS_GATEWAY)) setUsable(each, why);
  }

  showPage(desk) {
    const { visitors, active } = desk;
    const visitor = visitors[active];
    const viewing = Boolean(visitor) && visitor.epoch !== null;
    get("bar").hidden = get("stage").hidden = !viewing;
    get("empty").hidden = viewing;
    this.showAge(desk);
    if (!viewing) return this.showEmpty(desk, visitor);
    get("address").textContent = address(desk, desk.active);
  }

  /** In the place of a page: why there is none, and what can be done about it. */
  showEmpty(desk, visitor) {
    const whyNot = visitor ? whyNotAsk(desk, visitor) : null;
    const [head, words] = emptyWords(visitor, whyNot);
    get("empty_head").textContent = head;
    get("empty_words").textContent = words;
    get("ask").hidden = whyNot === null;
    get("ask").textContent = visitor?.refusal ? "Ask again" : "Ask to see the page";
    setUsable(get("ask"), whyNot ?? "");
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
    else get("join_words").textContent = notDone("join", reply.error);
    get("code").select();
  }
}

function row(desk, session) {
  const visitor = desk.visitors[session];
  const { label, chat, button, unread, epoch, asked, away, gone } = visitor;
  const whyNot = whyNotAsk(desk, visitor);
  const live = epoch !== null;
  const refusal = visitor.refusal ? refusalWords(visitor)[0].toLowerCase() : "";
  const active = desk.active === session;
  return { session, label, chat, button, unread, live, asked, refusal, away, gone, active, whyNot };
}

function emptyWords(visitor, whyNot) {
  if (!visitor) return ["Nobody's page is open", NOBODY];
  const { label, asked, refusal, chat } = visitor;
  if (asked) return [`Asking ${label} to show the page…`, "Nothing of it leaves their browser before they allow it."];
  if (refusal) return withStranger(visitor);
  if (whyNot !== null) return [`${label}'s page is not open`, "They are asked first, and can stop it at any time."];
  const words = chat === "invited" ? "Once they chat with you, you can ask to see the page." : NOBODY;
  return [`${label}'s page is not open`, words];
}

/** After a request by code one should know whom it was that was asked. */
function withStranger(visitor) {
  const [head, words] = refusalWords(visitor);
  const isStranger = visitor.chat === "idle" && ["declined", "timeout"].includes(visitor.refusal);
  return [head, isStranger ? `${words} ${STRANGER}` : words];
}

const STRANGER = "If your caller saw no question, the code was mistyped. The page has another code now.";
const NOBODY = "Ask the caller for the contact code in their help window, and join by it. Chats that wait appear on the left.";

/** Minutes and seconds. */
function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function quality({ connected, silent_s, lease, covered }, ms) {
  if (connected && silent_s) return ["poor", `No answer for ${Math.round(silent_s)} s`];
  if (ms === null || !connected) return ["none", "Reconnecting…"];
  if (!lease) return ["poor", "The service does not answer"];
  if (!covered) return ["poor", "Part of the service is away"];
  const words = `${Math.max(1, Math.round(ms))} ms`;
  if (ms < 150) return ["good", `Good · ${words}`];
  return ms < 500 ? ["fair", `Fair · ${words}`] : ["poor", `Slow · ${words}`];
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
