// assets/recorder.js: what records the page while an agent views it. Loaded by site_connect.js when a session starts.
// It records all; gate.js decides what leaves, by the verdict of privacy.js, before anything waits. After a fault what the
// agent sees may lack something: then the recorder begins again, with a snapshot; where that fails, too, it gives up.

import { catchFaults, look, outside, within } from "./clean.js"; // first: what follows is read while the language is clean
import { record } from "@rrweb/record";
import { stringify } from "../shared/json.js";

import { Faults } from "./faults.js";
import { Flips } from "./flips.js";
import { Gate } from "./gate.js";
import { Policies } from "./policy.js";
import { Privacy, SHOWN, inputType } from "./privacy.js";
import { readerOf } from "./reader.js";
import { Sign } from "./sign.js";
import { Snapshots } from "./snapshots.js";
import { Supplement } from "./supplement.js";
import { Waiting } from "./waiting.js";

const LOOK_MS = 250; // how often the addresses of the page and its frames are looked at
const META = 4;
const FULL_SNAPSHOT = 2;
const CHANGE = 3;
const MUTATION = 0;
const MOST_ELEMENTS = 60_000; // a console builds about so many in a second or two, and does nothing else meanwhile
const BOXES = "site-connect, [data-site-connect-block], .site-connect-block"; // not even looked into, to save time

/** Record into `send(text, snapshot)`: events as JSON. Returns {stop(), snapshot()}; after `stop` nothing is sent.
 *
 *  told: report(error), the first one that the library throws · failed(why): nothing is recorded any more
 *    typing(isShown): whether something of what is typed is told
 *  dom, memory, watch, settings: as site_connect.js keeps them from the start of the page
 *  held(why): by rules or settings nothing may leave now; null: again it may
 *  problem(why, again): a rule or a setting cannot be applied; `again`: it was told, and who wants a snapshot may not know
 *  address(): of the page, by which rules are chosen; by default its own
 */
const recordPage = (send, told, { dom, memory, watch, settings, held, problem, address }) => {
  const read = readerOf(dom);
  const policies = new Policies(settings, address ?? (() => read.address(dom.top)), read.isSelector);
  /** The address of the page's document, as it was judged last. */
  let here = read.address(dom.top);
  const policyAt = (node) => {
    const there = read.address(node);
    return there === here ? privacy.policy : policies.at(there);
  };
  const privacy = new Privacy({ read, memory, policyAt });
  const gate = new Gate((id) => record.mirror.getNode(id), privacy);
  const flips = new Flips(read, () => watch.watched(), (node) => record.mirror.getId(node), policyAt);
  const frames = new WeakMap(); // documents -> the policies by which they were judged
  const problems = new Set(); // that were told
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
      flips.learn();
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
      follow();
      if (privacy.policy.pause) return null;
      const isMutation = event.type === CHANGE && event.data.source === MUTATION;
      if (isMutation && policies.nameElements && flips.changed(event.data.adds)) remake();
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
    settings.isFixed = true;
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
    follow();
    if (privacy.policy.pause) return undefined;
    look();
    const { length } = dom.all(document);
    if (length > MOST_ELEMENTS) return tooLarge(length);
    try {
      return within(() => (isFaulty || !end ? begin() : record.takeFullSnapshot()));
    } catch (error) {
      return failed(error);
    }
  }

  function tooLarge(count) {
    stop();
    outside(() => told.failed(`it is too large: ${count} elements, and at most ${MOST_ELEMENTS} can be shown`));
  }

  /** What the agent sees may be wrong: marks have changed, or something failed. The snapshot comes after the recorder has
   *  heard of all that changed with them. */
  function remake() {
    if (!going || privacy.policy.pause) return;
    isStale = true;
    snapshots.want({ later: true });
  }

  /** Follow rules, settings and address as they are now. */
  function follow() {
    here = read.address(dom.top);
    const policy = policies.now();
    if (!going || policy === privacy.policy) return;
    const wasHeld = privacy.policy.pause !== null;
    privacy.policy = policy;
    for (const why of policy.problems) if (!problems.has(why)) outside(() => problem(why, false));
    policy.problems.forEach((why) => problems.add(why));
    if (policy.pause) return void hold(policy.pause);
    if (wasHeld) outside(() => held(null));
    remake();
  }

  function hold(why) {
    waiting.clear();
    snapshots.end();
    end?.();
    end = null;
    isStale = false;
    outside(() => held(why));
  }

  /** Also where nothing happens: the page or a frame may have another address. */
  function lookAround() {
    follow();
    for (const root of watch.watched()) {
      const [before, policy] = [frames.get(root), policyAt(root)];
      frames.set(root, policy);
      if (root !== dom.top && before && before !== policy) remake();
    }
    const moved = end && supplement.moved();
    if (!moved || isStale) return;
    waiting.add(gate.pass(moved), performance.now());
    wait();
  }

  function stop() {
    going = false;
    if (watch.changed === remake) watch.changed = null;
    if (settings.changed === follow) settings.changed = null;
    waiting.clear();
    clearTimeout(timer);
    snapshots.end();
    clearInterval(looking);
    supplement.end();
    end?.();
  }

  watch.changed = remake;
  settings.changed = follow;
  const looking = setInterval(lookAround, LOOK_MS);
  lookAround();
  if (!privacy.policy.pause) snapshots.want();

  return {
    snapshot() {
      for (const why of privacy.policy.problems) outside(() => problem(why, true));
      if (going && !privacy.policy.pause) snapshots.want();
    },
    stop,
  };
};

window.site_connect_recorder = Object.assign(recordPage, { Sign });
