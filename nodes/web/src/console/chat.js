// The chat's part of the console: what was said with the visitor on the screen, and what can be done about it.

import { keepAtEnd, line } from "../shared/lines.js";

const get = (id) => document.getElementById(id);
const ENDS = ["open", "invited"];
const WORDS = {
  idle: "There is no chat with this visitor yet.",
  offered: "The visitor asks for a chat.",
  invited: "The visitor was asked, and has not answered yet.",
  closed: "This chat has ended.",
  waiting: "The visitor waits for an agent.",
};
const ANSWERS = { declined: "The visitor does not want to chat now.", unanswered: "The visitor has not answered." };
const WINDOWS = {
  hidden: "The visitor has closed the help window. What you write is announced to them.",
  minimised: "The visitor has minimised the help window. What you write is announced to them.",
};

/** What is said about the chat with a visitor; "" where nothing is to be said. */
export function chatWords({ chat, answer, away, gone, dropped, state }) {
  const words = [];
  if (dropped) words.push("Earlier messages are not kept.");
  if (chat === "open" && away) words.push("The visitor is away: they have closed the page, or their connection is lost.");
  else if (chat === "open") words.push(WINDOWS[state.visibility] ?? "");
  else if (gone) words.push("The visitor has left.");
  if (chat === "idle" && answer) words.push(ANSWERS[answer]);
  else words.push(WORDS[chat] ?? "");
  return words.filter(Boolean).join(" ");
}

export class ChatPanel {
  /** acts: propose(session), endChat(session), dismiss(session), say(session, text) -> whether it was sent */
  constructor(acts) {
    this.acts = acts;
    /** The session whose chat is shown; null for none. */
    this.session = null;
    /** What the messages on the screen were made of, as JSON: they are left alone while that is the same. */
    this.shown = "";
    /** Shows the newest message. */
    this.toEnd = keepAtEnd(get("log"));
    /** The session whose chat the agent has just accepted, until it is open; null for none. */
    this.accepted = null;
    get("propose").addEventListener("click", () => acts.propose(this.session));
    get("end_chat").addEventListener("click", () => acts.endChat(this.session));
    get("dismiss").addEventListener("click", () => acts.dismiss(this.session));
    get("say").addEventListener("submit", (event) => (event.preventDefault(), this.say()));
    get("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.say();
    });
  }

  show({ visitors, active }) {
    this.session = active;
    const visitor = visitors[active];
    const chat = visitor?.chat ?? "none";
    document.querySelector("aside").dataset.chat = chat;
    get("chat_head").textContent = visitor ? `Chat with ${visitor.label}` : "Chat";
    get("chat_words").textContent = visitor ? chatWords(visitor) : "Open a visitor to chat.";
    const isStranger = chat === "idle" && visitor?.epoch === null; // until they have allowed to be seen
    get("propose").hidden = !visitor || visitor.gone || isStranger || !["idle", "closed"].includes(chat);
    get("end_chat").hidden = !ENDS.includes(chat);
    get("dismiss").hidden = chat !== "closed";
    get("say").hidden = chat !== "open";
    this.lines(visitor?.messages ?? [], visitor?.label);
    this.letWrite(chat);
  }

  /** Who has accepted a chat writes next: the box gets the keyboard, which the button had that is gone. */
  write(session) {
    this.accepted = session;
    this.letWrite(document.querySelector("aside").dataset.chat);
  }

  letWrite(chat) {
    if (this.accepted === null || this.accepted !== this.session || chat !== "open") return;
    this.accepted = null;
    if (document.activeElement === document.body) get("text").focus();
  }

  /** A page may claim any name for the sender; who writes here is the visitor. */
  lines(messages, label) {
    const entries = messages.map((each) => ({ ...each, from: each.own ? "You" : label }));
    const made = JSON.stringify([this.session, entries]);
    if (made === this.shown) return;
    this.shown = made;
    get("log").replaceChildren(...entries.map(line));
    this.toEnd();
  }

  async say() {
    const text = get("text").value.trim();
    if (!text) return;
    get("text").value = "";
    if (!(await this.acts.say(this.session, text)) && !get("text").value) get("text").value = text;
  }
}
