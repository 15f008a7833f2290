// assets/replay.js: shows a recorded page as it happens. Loaded by the agent console when a page is joined.

import { Replayer } from "@rrweb/replay";

import { Cleaner } from "./safe.js";
import { keepTopLayer } from "./top_layer.js";

const OURS = ["site-connect { display: none !important; }"]; // the visitor's frame and sign

/**
 * A stage for one page in `root`. Returns {show(events, snapshot), end()}.
 *
 * told: onMeta({href, width, height}), the visitor's address and window · shown(), a snapshot is on the screen · lost(),
 * the picture has left for another page, and is gone; a fresh snapshot is wanted · cut(snapshot): of what came, not all can be shown ·
 * took(ms): so long this window has stood still for what it was given
 *
 * The picture is for the eyes alone: it takes no focus, no keys and no clicks.
 *
 * Events are shown when they arrive: the visitor's clock may be wrong. Each snapshot is built beside what is shown, by
 * another replayer, and takes its place when it is there: a refresh does not flicker, and old events are let go.
 */
export function stage(root, told) {
  let cleaner = new Cleaner(); // of the newest snapshot and what follows it
  let isMeasuring = false; // one is enough: what comes meanwhile is in it
  let looks = 0; // goes up when the window is hidden or shown
  const looked = () => (looks += 1);
  document.addEventListener("visibilitychange", looked);
  const shown = []; // replayers with their places, the newest last; more than one only while that is being built

  function begin() {
    const place = document.createElement("div");
    place.className = "replay";
    place.inert = true;
    root.append(place);
    const before = [...shown];
    const replayer = new Replayer([], {
      root: place,
      liveMode: true,
      mouseTail: false,
      pauseAnimation: false,
      showWarning: false,
      triggerFocus: false,
      insertStyleRules: OURS,
    });
    const one = { replayer, place, leave: () => {} };
    shown.push(one);
    replayer.iframe.tabIndex = -1;
    let shownIn = null; // the document of the picture
    replayer.on("fullsnapshot-rebuilded", () => {
      shownIn = replayer.iframe.contentDocument;
      one.leave();
      one.leave = keepTopLayer(shownIn.documentElement);
      before.forEach(drop);
      told.shown();
    });
    replayer.iframe.addEventListener("load", () => {
      if (shownIn === null || replayer.iframe.contentDocument === shownIn) return;
      drop(one); // whatever has led it to another page
      told.lost();
    });
    replayer.startLive();
  }

  function drop(one) {
    if (!shown.includes(one)) return;
    shown.splice(shown.indexOf(one), 1);
    one.leave();
    one.replayer.destroy();
    one.place.remove();
  }

  /** Say how long something took with the style and the layout of what was built. While nobody looks neither is made, and
   *  what was begun before that proves nothing. */
  function measure(began) {
    if (isMeasuring || document.hidden) return;
    isMeasuring = true;
    const before = looks;
    requestAnimationFrame(() =>
      setTimeout(() => {
        isMeasuring = false;
        if (looks === before) told.took(performance.now() - began);
      }),
    );
  }

  return {
    show(events, snapshot) {
      const began = performance.now();
      if (snapshot) {
        begin();
        cleaner = new Cleaner();
      }
      const newest = shown.at(-1);
      if (!newest) return;
      const wasCut = cleaner.isCut;
      try {
        for (const event of cleaner.clean(events)) {
          if (event.type === 4) told.onMeta(event.data);
          newest.replayer.addEvent({ ...event, timestamp: Date.now() });
        }
      } finally {
        measure(began); // also of what fails at its end
      }
      if (cleaner.isCut && !wasCut) told.cut(snapshot);
    },
    end() {
      document.removeEventListener("visibilitychange", looked);
      [...shown].forEach(drop);
    },
  };
}
