// assets/replay.js: shows a recorded page as it happens. Loaded by the agent console when a page is joined.

import { Replayer } from "@rrweb/replay";

const OURS = ["site-connect { display: none !important; }"]; // the visitor's frame and sign

/**
 * A stage for one page in `root`. `onMeta({href, width, height})`: the visitor's address and window.
 * Returns {show(events, snapshot), end()}.
 *
 * Events are shown when they arrive: the visitor's clock may be wrong. Each snapshot is built beside what is shown, by
 * another replayer, and takes its place when it is there: a refresh does not flicker, and old events are let go.
 */
export function stage(root, onMeta) {
  const shown = []; // replayers with their places, the newest last; more than one only while that is being built

  function begin() {
    const place = document.createElement("div");
    place.className = "replay";
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
    shown.push({ replayer, place });
    replayer.on("fullsnapshot-rebuilded", () => before.forEach(drop));
    replayer.startLive();
  }

  function drop(one) {
    if (!shown.includes(one)) return;
    shown.splice(shown.indexOf(one), 1);
    one.replayer.destroy();
    one.place.remove();
  }

  return {
    show(events, snapshot) {
      if (snapshot) begin();
      const newest = shown.at(-1);
      if (!newest) return;
      for (const event of events) {
        if (event.type === 4) onMeta(event.data);
        newest.replayer.addEvent({ ...event, timestamp: Date.now() });
      }
    },
    end: () => [...shown].forEach(drop),
  };
}
