// privacy/privacy.js: the page to try rules on. The left frame is recorded by the recorder of sites (page.js beside this),
// the right one is the stage of the agents' console; between them stands nothing but this.

import { Stage } from "../console/stage.js";

import { EXAMPLES, MARKS, STYLE } from "./examples.js";

const STAY = "The rules that were there before stay in force.";
const REST_MS = 250; // after the last key, before what was typed holds
const get = (id) => document.getElementById(id);
const [page, html, rules, address] = ["page", "html", "rules", "address"].map(get);

/** What records the page at present, {settings}; null while it loads. */
let tried = null;
/** The operator's rules as the gateway read them. */
let held = { private: false, rules: [] };
/** What has left the page since it was loaded. */
let sent = { messages: 0, bytes: 0 };
/** Goes up with each question to the gateway: only the last answer counts. */
let turn = 0;

const stage = new Stage(get("stage"), { onMeta() {}, shown() {}, long: () => load(), report: (words) => say(words) });

function load() {
  tried = null;
  stage.end();
  say("");
  sent = { messages: 0, bytes: 0 };
  page.onload = begin;
  page.srcdoc = `<!doctype html><html><head><meta charset="utf-8"><style>${STYLE}</style>
    <script src="/privacy/page.js"></script><script src="/assets/recorder.js"></script></head><body></body></html>`;
}

function begin() {
  fill();
  tried = page.contentWindow.site_connect_try({
    rules: held,
    send: show,
    held: (why) => {
      if (why) stage.end(); // what was seen goes, as from an agent's screen
      say(why ?? "");
    },
    problem: (why) => say(why),
    address: () => (URL.canParse(address.value) ? address.value : "https://nowhere.invalid/"),
  });
  tried.record();
}

/** Put what was written into the page. Declarative shadow roots are made, and no script runs: the policy forbids it. */
function fill() {
  const { body } = page.contentDocument;
  if (body.setHTMLUnsafe) body.setHTMLUnsafe(html.value);
  else body.innerHTML = html.value;
}

function show(text, snapshot) {
  sent = { messages: sent.messages + 1, bytes: sent.bytes + new TextEncoder().encode(text).length };
  get("sent").textContent = `${sent.messages === 1 ? "1 message" : `${sent.messages} messages`}, ${(sent.bytes / 1000).toFixed(1)} kB`;
  get("last").textContent = JSON.stringify(JSON.parse(text), null, 2);
  stage.show("tried", text, snapshot);
}

function say(words) {
  get("why").textContent = words;
  get("why").hidden = !words;
}

/** Have the gateway read the rules, as it reads its file, and let them hold. */
async function follow() {
  const mine = (turn += 1);
  const asked = { text: rules.value, address: address.value, private: get("private").checked };
  const answer = await fetch("/privacy/rules", { method: "POST", body: JSON.stringify(asked) });
  const { why, ...read } = await answer.json();
  if (mine !== turn) return;
  get("wrong").textContent = why ? `${why}\n${STAY}` : "";
  get("wrong").hidden = !why;
  if (why) return;
  held = read.rules;
  tried?.settings.take(held);
}

function rested(fun) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(fun, REST_MS);
  };
}

function choose({ address: at, html: text, rules: toml }) {
  html.value = text;
  rules.value = toml;
  address.value = at;
  html.scrollTo(0, 0);
  follow().then(load);
}

/** Put a mark into the tag that the cursor is in, or right after it. */
function mark(name) {
  const { value, selectionStart } = html;
  const start = value.lastIndexOf("<", Math.max(0, selectionStart - 1));
  const name_ends = start < 0 ? -1 : start + value.slice(start).search(/[\s>]/);
  if (name_ends <= start) return;
  html.setRangeText(` ${name}`, name_ends, name_ends, "end");
  html.focus();
  fill();
}

get("example").append(...EXAMPLES.map(({ name }, at) => new Option(name, at)));
get("marks").append(
  ...MARKS.map((name) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name.replace("data-site-connect-", "") });
    button.title = `Put ${name} into the tag at the cursor`;
    button.onclick = () => mark(name);
    return button;
  }),
);
get("example").onchange = () => choose(EXAMPLES[get("example").value]);
get("again").onclick = load;
get("private").onchange = follow;
html.oninput = rested(() => tried && fill());
rules.oninput = address.oninput = rested(follow);
get("choices").onsubmit = (event) => event.preventDefault();
addEventListener("resize", rested(load)); // a page in a window of another size
choose(EXAMPLES[0]);
