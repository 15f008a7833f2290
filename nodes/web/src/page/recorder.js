// assets/recorder.js: what records the page while an agent views it. Loaded by site_connect.js when a session starts.
// It records all; gate.js decides what leaves, by the verdict of privacy.js, before anything waits.

import { record } from "@rrweb/record";
import { stringify } from "../shared/json.js";

import { Gate } from "./gate.js";
import { Privacy } from "./privacy.js";
import { Snapshots } from "./snapshots.js";
import { Waiting } from "./waiting.js";

const META = 4;
const FULL_SNAPSHOT = 2;
const BOXES = "site-connect, [data-site-connect-block], .site-connect-block"; // not even looked into, to save time

/** What the operator of the gateway has set: see nodes/gateway/files.py. */
const operator = window.site_connect_operator ?? {};
delete window.site_connect_operator;

/** Record into `send(text, snapshot)`: events as JSON. Returns {stop(), snapshot()}; after `stop` nothing is sent.
 *
 *  dom, memory, watch: as site_connect.js keeps them from the start of the page
 *  options: {isPrivate, tellsPath, queries}, of the page
 */
window.site_connect_recorder = (send, report, { dom, memory, watch, options }) => {
  const isPrivate = options.isPrivate || operator.private === true;
  const privacy = new Privacy({ read: dom, memory, isPrivate });
  const gate = new Gate((id) => record.mirror.getNode(id), { ...options, privacy });
  const waiting = new Waiting();
  let timer = null;
  let meta = null;
  /** Whether what the agent sees is judged by marks that have changed since: until the snapshot, nothing leaves. */
  let isStale = false;
  let going = true;
  const snapshots = new Snapshots({
    take: () => record.takeFullSnapshot(),
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
      send(stringify([meta, passed]), true);
    } else {
      waiting.add(passed, performance.now());
      wait();
    }
  }

  function judge(event) {
    try {
      watch.catchUp();
      return gate.pass(event);
    } catch (error) {
      report(error); // what cannot be judged does not leave
      return null;
    }
  }

  /** Marks have changed. The snapshot comes after the recorder has heard of all that changed with them. */
  function remake() {
    if (!going) return;
    isStale = true;
    snapshots.want({ later: true });
  }

  watch.changed = remake;
  const end = record({
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

  return {
    snapshot() {
      if (going) snapshots.want();
    },
    stop() {
      going = false;
      if (watch.changed === remake) watch.changed = null;
      waiting.clear();
      snapshots.end();
      clearTimeout(timer);
      end?.();
    },
  };
};
