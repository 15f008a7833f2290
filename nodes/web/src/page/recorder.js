// assets/recorder.js: what records the page while an agent views it. Loaded by site_connect.js when a session starts.
// What is masked here never leaves the page:
//
//   everything typed             a mask of equal length, but in fields marked with data-site-connect-show
//   passwords, card fields       always, also when they are marked
//   data-site-connect-mask       text of an element, as a mask of equal length
//   data-site-connect-block      an element, with all in it: only its size is told; class `site-connect-block` as well

import { record } from "@rrweb/record";
import { stringify } from "../shared/json.js";

const FLUSH_MS = 40; // events go together that happen within this time
const SNAPSHOT_REST_MS = 250; // an agent that lost track asks again and again
const META = 4;
const FULL_SNAPSHOT = 2;
const MASK = "•";
const OWN = "site-connect"; // our own element: frame and sign
const SECRET = '[type="password" i], [data-rr-is-password], [autocomplete*="cc-" i], [autocomplete*="password" i]';
const SECRET_CHOICE = 'select[autocomplete*="cc-" i]'; // which of its options is chosen could be told from them
const TYPED = new Set(["input", "textarea", "select"]);
const NOT_TYPED = new Set(["radio", "checkbox", "submit", "button", "reset", "image"]);
const TYPED_TEXT = '[contenteditable]:not([contenteditable="false"])';

/** Record into `send(text, snapshot)`: events as JSON. Returns {stop(), snapshot()}; after `stop` nothing is sent. */
window.site_connect_recorder = (send, report) => {
  let waiting = [];
  let timer = null;
  let meta = null;
  let tookAt = -Infinity;
  let going = true;

  function flush() {
    clearTimeout(timer);
    timer = null;
    if (going && waiting.length) send(stringify(waiting), false);
    waiting = [];
  }

  function emit(event) {
    if (!going) return;
    if (event.type === META) {
      meta = event;
      meta.data.href = location.origin + location.pathname; // a query may hold what was typed
    } else if (event.type === FULL_SNAPSHOT) {
      waiting = []; // it is newer than these
      tookAt = performance.now();
      scrub(event.data.node);
      send(stringify([meta, event]), true);
    } else {
      event.data.adds?.forEach(({ node }) => scrub(node));
      waiting.push(event);
      timer ??= setTimeout(flush, FLUSH_MS);
    }
  }

  const end = record({
    emit,
    errorHandler: (error) => (report(error), true),
    maskInputOptions: { input: true, textarea: true, select: true, password: true },
    maskInputFn: masked,
    maskTextSelector: `[data-site-connect-mask], textarea, ${TYPED_TEXT}`,
    maskTextFn: maskedText,
    blockClass: "site-connect-block",
    blockSelector: `${OWN}, [data-site-connect-block], ${SECRET_CHOICE}`,
    slimDOMOptions: "all",
    sampling: { mousemove: 50, mousemoveCallback: 100, scroll: 50, input: "all" },
    recordCanvas: false,
    inlineStylesheet: true,
  });

  return {
    snapshot() {
      if (going && performance.now() - tookAt > SNAPSHOT_REST_MS) record.takeFullSnapshot();
    },
    stop() {
      going = false;
      waiting = [];
      clearTimeout(timer);
      end?.();
    },
  };
};

/** What rrweb masks as it serialises is masked there; an attribute `value` behind an emptied field is masked here. */
function scrub(node) {
  const { attributes } = node;
  if (attributes?.value && TYPED.has(node.tagName) && !NOT_TYPED.has(attributes.type)) {
    attributes.value = masked(String(attributes.value), record.mirror.getNode(node.id));
  }
  node.childNodes?.forEach(scrub);
}

function masked(text, element) {
  return mayShow(element) && !element.matches(SECRET) ? text : text.replace(/[^\n]/g, MASK);
}

function maskedText(text, element) {
  const forced = element?.closest("[data-site-connect-mask]");
  return mayShow(element) && !forced ? text : text.replace(/\S/g, MASK);
}

function mayShow(element) {
  return Boolean(element?.closest("[data-site-connect-show]"));
}
