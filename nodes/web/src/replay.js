// assets/replay.js: shows a recorded page as it happens. Loaded by the agent console when a page is joined.

import { Replayer } from "@rrweb/replay";

const OURS = ["site-connect { display: none !important; }"]; // the visitor's frame and sign

/**
 * A stage for one page in `root`. `onMeta({href, width, height})`: the visitor's address and window.
 * Returns {show(events, snapshot), end()}.
 *
 * Events are shown when they arrive: the visitor's clock may be wrong. Each snapshot is built beside what is shown, by a
 * replayer of its own, and takes its place when it is there: so a refresh does not flicker, and old events are let go.
 */
export function stage(root, onMeta) {
  let current = null;

  function begin() {
    const place = document.createElement("div");
    place.className = "replay";
    root.append(place);
    const before = current;
    const replayer = new Replayer([], {
      root: place,
      liveMode: true,
      mouseTail: false,
      pauseAnimation: false,
      showWarning: false,
      triggerFocus: false,
      insertStyleRules: OURS,
    });
    current = { replayer, place };
    replayer.on("fullsnapshot-rebuilded", () => {
      if (before) drop(before);
    });
    replayer.startLive();
    return replayer;
  }

  return {
    show(events, snapshot) {
      if (!snapshot && !current) return;
      const replayer = snapshot ? begin() : current.replayer;
      for (const event of events) {
        if (event.type === 4) onMeta(event.data);
        replayer.addEvent({ ...event, timestamp: Date.now() });
      }
    },
    end() {
      if (current) drop(current);
      current = null;
      root.replaceChildren();
    },
  };
}

function drop({ replayer, place }) {
  if (!place.isConnected) return;
  replayer.destroy();
  place.remove();
}
