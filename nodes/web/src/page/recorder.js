// assets/recorder.js: what records the page while an agent views it. Loaded by site_connect.js when a session starts.
// It records all; gate.js decides what leaves, by the verdict of privacy.js, before anything waits.

import { record } from "@rrweb/record";
import { stringify } from "../shared/json.js";

import { Flips } from "./flips.js";
import { Gate } from "./gate.js";
import { Policies } from "./policy.js";
import { Privacy } from "./privacy.js";
import { readerOf } from "./reader.js";
import { Snapshots } from "./snapshots.js";
import { Waiting } from "./waiting.js";

const LOOK_MS = 250; // how soon another address is noticed on which nothing changes
const META = 4;
const FULL_SNAPSHOT = 2;
const CHANGE = 3;
const MUTATION = 0;
const BOXES = "site-connect, [data-site-connect-block], .site-connect-block"; // not even looked into, to save time

/** Record into `send(text, snapshot)`: events as JSON. Returns {stop(), snapshot()}; after `stop` nothing is sent.
 *
 *  dom, memory, watch, settings: as site_connect.js keeps them from the start of the page
 *  held(why): by rules or settings nothing may leave now; null: again it may
 *  problem(why): a rule or a setting cannot be applied
 *  address(): of the page, by which rules are chosen
 */
window.site_connect_recorder = (send, report, { dom, memory, watch, settings, held, problem, address }) => {
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
  const waiting = new Waiting();
  const said = new Set(); // problems
  let timer = null;
  let meta = null;
  /** Whether what the agent sees is judged by marks that have changed since: until the snapshot, nothing leaves. */
  let isStale = false;
  let going = true;
  /** What ends rrweb's recording; null while nothing is recorded, as by `policy.pause`. */
  let end = null;
  const snapshots = new Snapshots({
    take: () => end && record.takeFullSnapshot(),
    now: () => performance.now(),
    after: (ms, fun) => {
      const timer = setTimeout(fun, ms);
      return () => clearTimeout(timer);
    },
  });

  function flush() {
    timer = null;
    if (!going || isStale) return;
    const events = waiting.take(performance.now());
    if (events.length) send(stringify(events), false);
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
      send(stringify([meta, passed]), true);
    } else {
      waiting.add(passed, performance.now());
      wait();
    }
  }

  function judge(event) {
    try {
      watch.catchUp();
      look();
      if (privacy.policy.pause) return null;
      const isMutation = event.type === CHANGE && event.data.source === MUTATION;
      if (isMutation && policies.nameElements && flips.changed(event.data.adds)) remake();
      return gate.pass(event);
    } catch (error) {
      report(error); // what cannot be judged does not leave
      return null;
    }
  }

  /** Marks have changed. The snapshot comes after the recorder has heard of all that changed with them. */
  function remake() {
    if (!going || !end) return;
    isStale = true;
    snapshots.want({ later: true });
  }

  /** Follow rules, settings and address as they are now. */
  function look() {
    here = read.address(dom.top);
    const policy = policies.now();
    if (!going || policy === privacy.policy) return;
    const wasHeld = privacy.policy.pause !== null;
    privacy.policy = policy;
    for (const why of policy.problems) if (!said.has(why)) problem(why), said.add(why);
    if (policy.pause) hold(policy.pause);
    else if (end) remake();
    else if (wasHeld) held(null), begin();
  }

  /** Also where nothing happens: the page or a frame may have another address. */
  function lookAround() {
    look();
    for (const root of watch.watched()) {
      const [before, policy] = [frames.get(root), policyAt(root)];
      frames.set(root, policy);
      if (root !== dom.top && before && before !== policy) remake();
    }
  }

  function hold(why) {
    waiting.clear();
    snapshots.end();
    end?.();
    end = null;
    isStale = false;
    held(why);
  }

  function begin() {
    settings.isFixed = true;
    end = record({
      emit,
      errorHandler: (error) => (report(error), true),
      maskInputOptions: {},
      blockClass: "site-connect-block",
      blockSelector: BOXES,
      slimDOMOptions: "all",
      sampling: { mousemove: 50, mousemoveCallback: 100, scroll: 50, input: "all" },
      recordCanvas: false,
      inlineStylesheet: true,
    });
  }

  watch.changed = remake;
  settings.changed = look;
  const looking = setInterval(lookAround, LOOK_MS);
  lookAround();
  if (!privacy.policy.pause) begin();

  return {
    snapshot() {
      if (end) snapshots.want();
    },
    stop() {
      going = false;
      if (watch.changed === remake) watch.changed = null;
      if (settings.changed === look) settings.changed = null;
      clearInterval(looking);
      waiting.clear();
      snapshots.end();
      clearTimeout(timer);
      end?.();
    },
  };
};
