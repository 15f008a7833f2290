// site_connect.js, the script that a page loads: makes the global `site_connect`, whose calls work at once.
//
//   <script async src="https://gateway.example/site_connect.js" data-buttons="help"></script>
//
//   data-buttons="help sales"   ids of the page's chat buttons
//   data-frame="manual"         the frame is loaded when the page asks by site_connect.frame(), show_frame, or
//                               `~/site_connect/load_frame`; else as soon as the document is there
//   data-private                agents see masked what the page does not mark as shown
//   data-address="path"         agents are told the path of the page's address, not only its site
//   data-queries="https://…"    addresses of pictures and styles that begin so keep their query
//   data-configure              nothing is recorded before the page has called site_connect.configure
//
// Two lines before it let the page call while the script is on its way:
//
//   window.site_connect = { calls: [] };
//   for (const name of ["subscribe", "unsubscribe", "publish", "stop_session", "on_consent", "frame", "retry", "configure"])
//     site_connect[name] = (...args) => site_connect.calls.push([name, ...args]);
//
// Their subscriptions have the ids that the stub's `subscribe` returned; of the rest it returns nothing of use.

import { dom } from "./dom.js";
import { FrameLink } from "./frame_link.js";
import { Memory } from "./memory.js";
import { Overlay, keepThere } from "./overlay.js";
import { stringify } from "../shared/json.js";
import { ownScript, scriptMaker } from "./own_script.js";
import { PRIVACY_PROBLEM } from "./names.js";
import { Page } from "./page.js";
import { Recording } from "./recording.js";
import { Settings } from "./settings.js";
import { Watch } from "./watch.js";

const UNSEEN = "Paused: the sign cannot be seen on the visitor's page.";

function begin({ origin, dataset, nonce }) {
  const early = window.site_connect?.calls ?? [];
  const report = (error) => (typeof reportError === "function" ? reportError(error) : console.error(error));
  const overlay = new Overlay();
  let typing = null; // what the frame was told of it
  let sign = null; // it comes with the recorder
  const tellSite = (name, payload) => page.fromFrame({ t: "site", name, payload });

  const memory = new Memory(dom);
  const watch = new Watch(dom, memory);
  const settings = new Settings(dataset);

  const page = new Page(
    {
      frame: (message) => link.tell(message),
      wantFrame: () => whenThere(() => link.load()),
      view: (view) => link.show(view),
      letWrite: () => link.letWrite(),
      follow: (said) => link.follow(said),
      attend: () => link.attend(),
      attended: () => link.attended(),
      record: (epoch) => recording.start(epoch),
      seen: () => sign?.seen(),
      pause: () => (recording.end(), sign?.paused()),
      held: (why) => sign?.paused(why),
      rules: (rules) => settings.take(rules),
      stopRecording: () => (recording.end(), sign?.hide()),
      snapshot: () => recording.snapshot(),
      refused: (what) => recording.refused(what),
      later: (fun) => queueMicrotask(fun),
      report,
    },
    early.length + 1,
  );
  const link = new FrameLink({
    origin,
    overlay,
    privacy: () => stringify({ page: settings.page, isAwaited: settings.isAwaited, address: location.href }),
    said: (message) => page.fromFrame(message),
    silent: (reason) => tellSite("error", { attempts: 1, reason }),
    hello: () => ({
      buttons: (dataset.buttons ?? "").split(/[\s,]+/).filter(Boolean),
      subscriptions: page.beyond(),
      ownConsent: page.consent !== null,
      made: page.updates || null,
      typing,
    }),
  });
  const recording = new Recording({
    script: scriptMaker(`${origin}/assets/recorder.js`, nonce),
    privacy: {
      dom,
      memory,
      watch,
      settings,
      held: (why) => page.held(why),
      problem: (why, again) => page.publish(PRIVACY_PROBLEM, { why, again }),
    },
    report,
    send: (event, snapshot) => page.sendUpdate(event, snapshot),
    failed: (why) => tellSite("refused", { what: "record", why }),
    typing: (isShown) => {
      if (isShown !== typing) link.tell({ t: "typing", isShown });
      typing = isShown;
    },
    hindered: (why) => page.hindered(why),
    sign: (Sign) => {
      sign ??= new Sign({
        stop: () => page.stopSession(),
        hindered: (is) => page.hindered(is ? UNSEEN : null),
      });
      sign.show();
    },
    free: (why) => page.hindrance === why && page.hindered(null),
  });

  window.site_connect = Object.freeze({
    subscribe: (...given) => page.subscribe(...given), // topic, msg_fun, ack_fun, options
    unsubscribe: (id) => page.unsubscribe(id),
    publish: (...given) => page.publish(...given), // topic, msg, options
    stop_session: () => page.stopSession(),
    on_consent: (ask) => page.onConsent(ask),
    frame: () => whenThere(() => link.load()),
    retry: () => page.retry(),
    configure: (given) => settings.configure(given),
  });
  early.forEach(([name, ...args], index) => {
    try {
      if (name === "subscribe") args[4] = index + 1;
      window.site_connect[name](...args);
    } catch (error) {
      report(error); // the caller is long gone
    }
  });
  whenThere(() => {
    let root = document.documentElement;
    overlay.put();
    if (dataset.frame !== "manual") link.load();
    keepThere(
      () => overlay.host.isConnected && link.isThere,
      () => {
        const wasThere = link.isThere;
        overlay.put();
        if (!wasThere) link.again();
        if (document.documentElement !== root) page.replaced();
        root = document.documentElement;
      },
    );
  });
}

function whenThere(fun) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", fun, { once: true });
  else fun();
}

if (!Object.isFrozen(window.site_connect ?? {})) {
  const script = ownScript();
  if (script) begin(script);
  else console.error("site_connect.js: expected a script element with this address");
}
