// privacy/page.js: makes a page one that is recorded as site_connect.js does it, without a frame and an agent: what would
// be sent goes to whoever calls. The page to try rules on loads it, and tests do.

import { dom } from "../page/dom.js";
import { Memory } from "../page/memory.js";
import { Settings } from "../page/settings.js";
import { Watch } from "../page/watch.js";

const memory = new Memory(dom);
const watch = new Watch(dom, memory);

/** Return what begins to record: {settings, record()}; `record` needs the recorder's script, and returns what that does.
 *
 *  dataset: as attributes of site_connect.js's element · rules: the operator's, as a welcome has them
 *  send(text, snapshot), report(error), held(why), problem(why, again), address(): see recorder.js
 */
window.site_connect_try = ({ dataset = {}, rules = { private: false, rules: [] }, send, report = console.error, ...told }) => {
  const settings = new Settings(dataset);
  settings.take(rules);
  const nothing = () => {};
  const to = { report, failed: report, typing: nothing };
  const record = () =>
    window.site_connect_recorder(send, to, { dom, memory, watch, settings, held: nothing, problem: nothing, ...told });
  return { settings, record };
};
