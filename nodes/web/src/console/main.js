// agent.js: the agents' console. What it knows is in story.js, what it shows in view.js, the replay in stage.js.

import { Link } from "./link.js";
import { Stage } from "./stage.js";
import { notDone } from "../shared/words.js";
import { START, activate, addressed, canAct, dismissed, heard, looked, rested, resting, stopped, withMessage, withdrawn } from "./story.js";
import { View } from "./view.js";

const TICK_MS = 500;
const BEHIND_MS = 3_000; // a picture that is behind for so long is asked for again
const CONFIRM_MS = 2_000; // how often the visitor is told that the page is on the screen

let desk = START;
let ms = null; // how long the last ping took
let askedAt = 0; // when a picture that is behind was asked for again last
let confirmedAt = 0; // when the page's visitor was told last that it is on the screen

const view = new View({
  signIn: (agent, password) => link.signIn(agent, password),
  signOut: () => link.signOut(),
  available: (on) => tellAvailable(on, desk.serving),
  serve: (serving) => tellAvailable(desk.available, serving),
  join: (code) => link.ask({ t: "join", code }),
  accept: (session) => ask({ t: "accept", session }).then(({ ok }) => ok && begin(session)),
  decline: (session) => ask({ t: "decline", session }),
  open: (session) => open(session),
  ask: (session) => askVisitor(session),
  withdraw: (session) => ask({ t: "stop", session }),
  refresh: () => link.send({ t: "snapshot", session: desk.active }),
  stop: (session) => {
    stage.end(session);
    ask({ t: "stop", session });
    become(stopped(desk, session));
  },
  propose: (session) => ask({ t: "proactive", session }),
  endChat: (session) => {
    become(withdrawn(desk, session));
    return ask({ t: "stop_chat", session });
  },
  dismiss: (session) => {
    link.send({ t: "dismiss", session });
    become(dismissed(desk, session));
  },
  say: (session, text) => say(session, text),
});

const stage = new Stage(document.getElementById("stage"), {
  onMeta: (session, { href }) => become(addressed(desk, session, href)),
  shown: (session) => confirm(session, performance.now()),
  long: (session) => link.send({ t: "snapshot", session }),
  report: (words) => become({ ...desk, notice: words }),
});

const link = new Link({
  heard: (said) => {
    if (said.t === "welcome" || (said.t === "event" && said.event === "joined")) stage.end(said.session);
    const { available, serving } = desk;
    become(heard(desk, said, performance.now()));
    if (said.t === "welcome" && available && !said.available) tellAvailable(true, serving); // the gateway has forgotten
    if (said.t === "event" && said.event === "update") show(said);
    if (said.t === "confirm" || said.event === "stopped" || isTakenBack(said)) stage.end(said.session);
    if (said.t === "confirm") link.send({ t: "handled", confirm: said.confirm }); // nothing of it is on the screen now
  },
  quality: (took_ms) => {
    ms = took_ms;
    if (ms === null) become({ ...desk, connected: false });
    view.quality(desk, ms);
  },
  silent: (silent_s) => {
    become({ ...desk, silent_s });
    view.quality(desk, ms);
  },
  out: (words) => {
    stage.end();
    desk = START;
    view.door(words);
  },
});

/** By its rules the site shows nothing now: what was seen of it goes, too. */
function isTakenBack({ event, topic, payload }) {
  return event === "message" && topic === "~pagesession/cobrowsing/paused" && payload?.by === "site";
}

function become(next) {
  desk = next;
  if (desk.agent) view.show(desk);
}

async function ask(message) {
  const reply = await link.ask(message);
  if (!reply.ok) become({ ...desk, notice: notDone(message.t, reply.error, reply.retry_after_s) });
  return reply;
}

async function askVisitor(session) {
  const { ok, error, retry_after_s } = await ask({ t: "ask", session });
  if (ok) become(activate(desk, session));
  else if (error === "AskedTooSoon") become(resting(desk, session, performance.now() + retry_after_s * 1000));
}

function begin(session) {
  become(activate(desk, session));
  view.chat.write(session);
}

function tellAvailable(on, serving) {
  if (link.send({ t: "available", on, buttons: serving })) become({ ...desk, available: on, serving });
}

function open(session) {
  if (session === desk.active) return;
  become(activate(desk, session));
  if (desk.visitors[session].epoch !== null) link.send({ t: "snapshot", session });
}

function show({ session, epoch, update, snapshot }) {
  const visitor = desk.visitors[session];
  if (session === desk.active && visitor?.epoch === epoch) stage.show(session, update, snapshot);
}

async function say(session, text) {
  const reply = await ask({ t: "say", session, text });
  if (reply.ok) become(withMessage(desk, session, { from: desk.name, text, id: reply.message_id, at: Date.now() / 1000 }, true));
  return reply.ok;
}

/** The visitor reads that an agent views the page for as long as this is said again and again. */
function confirm(session, now) {
  const { epoch } = desk.visitors[session] ?? {};
  if (typeof epoch === "number" && link.send({ t: "shown", session, epoch })) confirmedAt = now;
}

/** As time goes by a picture grows old; one that lacks updates, as after a limit, is asked for again. */
function tick() {
  if (!desk.agent) return;
  const now = performance.now();
  const next = rested(desk, now);
  if (next !== desk) become(next);
  view.showAge(desk);
  if (stage.isShown && now - confirmedAt >= CONFIRM_MS) confirm(stage.session, now);
  const visitor = desk.visitors[desk.active];
  const since = visitor?.epoch === null || visitor?.paused ? null : (visitor?.behindSince ?? null);
  if (since === null || !canAct(desk) || now - Math.max(since, askedAt) < BEHIND_MS) return;
  askedAt = now;
  link.send({ t: "snapshot", session: desk.active });
}

document.addEventListener("visibilitychange", () => become(looked(desk, document.hidden)));
setInterval(tick, TICK_MS);
link.resume();
