// assets/recorder.js: what records the page while an agent views it. Loaded by site_connect.js when a session starts.
// It records all; gate.js decides what leaves, by the verdict of privacy.js, before anything waits. After a fault what the
// agent sees may lack something: then the recorder begins again, with a snapshot; where that fails, too, it gives up.

import { catchFaults, look, outside, within } from "./clean.js"; // first: what follows is read while the language is clean
import { record } from "@rrweb/record";
import { stringify } from "../shared/json.js";

import { Faults } from "./faults.js";
import { Gate } from "./gate.js";
import { Privacy, SHOWN, inputType } from "./privacy.js";
import { Sign } from "./sign.js";
import { Snapshots } from "./snapshots.js";
import { Supplement } from "./supplement.js";
import { Waiting } from "./waiting.js";

const LOOK_MS = 500; // how often the page's address is looked at
const META = 4;
const FULL_SNAPSHOT = 2;
const MOST_ELEMENTS = 60_000; // a console builds about so many in a second or two, and does nothing else meanwhile
const BOXES = "site-connect, [data-site-connect-block], .site-connect-block"; // not even looked into, to save time

/** What the operator of the gateway has set: see nodes/gateway/files.py. */
const operator = window.site_connect_operator ?? {};
delete window.site_connect_operator;

/** Record into `send(text, snapshot)`: events as JSON. Returns {stop(), snapshot()}; after `stop` nothing is sent.
 *
 *  told: report(error), the first one that the library throws · failed(why): nothing is recorded any more
 *    typing(isShown): whether something of what is typed is told
 *  dom, memory, watch: as site_connect.js keeps them from the start of the page
 *  options: {isPrivate, tellsPath, queries}, of the page
 */
const recordPage = (send, told, { dom, memory, watch, options }) => {
  const isPrivate = options.isPrivate || operator.private === true;
  const privacy = new Privacy({ read: dom, memory, isPrivate });
  const gate = new Gate((id) => record.mirror.getNode(id), { ...options, privacy });
  const supplement = new Supplement(record.mirror, emit, showsTyping);
  const waiting = new Waiting();
  const faults = new Faults();
  let timer = null;
  let end = null; // ends what the library does; null while it does nothing
  let meta = null;
  /** Whether what the agent sees may be wrong, by marks that have changed or a fault: until the snapshot, nothing leaves. */
  let isStale = false;
  /** Whether the library has failed since it began: it begins again with the next snapshot. */
  let isFaulty = false;
  /** Whether the page has heard of a fault. */
  let isReported = false;
  let going = true;
  const snapshots = new Snapshots({
    take,
    now: () => performance.now(),
    after: (ms, fun) => {
      const one = setTimeout(fun, ms);
      return () => clearTimeout(one);
    },
  });

  /** Whether what is typed or chosen in this element, a field or an editor, is told. */
  function showsTyping(node) {
    const isEditor = dom.has(node, "contenteditable") || (privacy.isField(node) && inputType(dom, node) !== "hidden");
    return isEditor && privacy.typed(node) === SHOWN;
  }

  function flush() {
    timer = null;
    if (!going || isStale) return;
    const events = waiting.take(performance.now());
    if (events.length) {
      send(stringify(events), false);
      told.typing(supplement.showsTyping);
    }
    wait();
  }

  function wait() {
    const { due } = waiting;
    if (due !== null) timer ??= setTimeout(flush, Math.max(0, due - performance.now()));
  }

  function emit(event) {
    if (!going) return;
    const passed = judge(event);
    if (!passed) return;
    if (event.type === META) {
      meta = passed;
    } else if (event.type === FULL_SNAPSHOT) {
      waiting.clear();
      isStale = false;
      snapshots.taken();
      outside(() => {
        send(stringify([meta, passed]), true);
        told.typing(supplement.showsTyping);
      });
    } else {
      waiting.add(passed, performance.now());
      wait();
    }
  }

  function judge(event) {
    try {
      watch.catchUp();
      const passed = gate.pass(event);
      return passed && supplement.complete(passed);
    } catch (error) {
      failed(error); // what cannot be judged does not leave
      return null;
    }
  }

  function failed(error) {
    if (!going) return;
    if (!isReported) outside(() => told.report(error)); // once: a site counts the errors of its pages
    isReported = true;
    isFaulty = true;
    snapshots.taken(); // badly: the next one rests as well
    if (faults.isBearable(performance.now())) return remake();
    stop();
    outside(() => told.failed("what records it fails on it, again and again"));
  }

  /** Begin, or begin again. */
  function begin() {
    end?.();
    isFaulty = false;
    catchFaults(failed);
    end = record({
      emit,
      errorHandler: (error) => (failed(error), true),
      maskInputOptions: {},
      blockClass: "site-connect-block",
      blockSelector: BOXES,
      slimDOMOptions: "all",
      sampling: { mousemove: 50, mousemoveCallback: 100, scroll: 50, input: "all" },
      recordCanvas: false,
      inlineStylesheet: true,
    });
    if (!end) failed(new Error("expected the recorder to begin"));
  }

  function take() {
    look();
    const { length } = dom.all(document);
    if (length > MOST_ELEMENTS) return tooLarge(length);
    try {
      within(() => (isFaulty || !end ? begin() : record.takeFullSnapshot()));
    } catch (error) {
      failed(error);
    }
  }

  function tooLarge(count) {
    stop();
    outside(() => told.failed(`it is too large: ${count} elements, and at most ${MOST_ELEMENTS} can be shown`));
  }

  /** What the agent sees may be wrong: marks have changed, or something failed. The snapshot comes after the recorder has
   *  heard of all that changed with them. */
  function remake() {
    if (!going) return;
    isStale = true;
    snapshots.want({ later: true });
  }

  function stop() {
    going = false;
    if (watch.changed === remake) watch.changed = null;
    waiting.clear();
    clearTimeout(timer);
    snapshots.end();
    clearInterval(looking);
    supplement.end();
    end?.();
  }

  watch.changed = remake;
  const looking = setInterval(() => {
    const moved = supplement.moved();
    if (!moved || isStale) return;
    waiting.add(gate.pass(moved), performance.now());
    wait();
  }, LOOK_MS);
  snapshots.want();

  return {
    snapshot() {
      if (going) snapshots.want();
    },
    stop,
  };
};

window.site_connect_recorder = Object.assign(recordPage, { Sign });
