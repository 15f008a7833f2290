// The topics that the page's script knows by name; the table in docs/reference/site-connect-topics.md says when each is told.

export const HERE = "~/site_connect/";
const SESSION = "~pagesession/";

export const ASKED = `${SESSION}cobrowsing/asked`;
/** The visitor's answers to it. */
export const ALLOW = `${SESSION}cobrowsing/allow`;
export const DECLINE = `${SESSION}cobrowsing/decline`;
/** A request is over that was not allowed. */
export const DECLINED = `${SESSION}cobrowsing/declined`;
export const LOAD_FRAME = `${HERE}load_frame`;
export const STARTED = `${SESSION}cobrowsing/start`;
export const STOPPED = `${SESSION}cobrowsing/stop`;
export const UPDATE = `${SESSION}cobrowsing/update`;
export const SNAPSHOT_REQUEST = `${SESSION}cobrowsing/snapshot_request`;
/** The agent's console shows the page, in this epoch. */
export const SEEN = `${SESSION}cobrowsing/shown`;
/** Nothing leaves at present, and why; and again it does. */
export const PAUSED = `${SESSION}cobrowsing/paused`;
export const RESUMED = `${SESSION}cobrowsing/resumed`;
/** A rule on what leaves the page cannot be applied, and what is hidden instead. */
export const PRIVACY_PROBLEM = `${SESSION}cobrowsing/privacy_problem`;
export const ACCEPTED = `${SESSION}chat/accepted`;
export const SHOW = `${SESSION}show_frame`;
const MINIMISE = `${SESSION}minimize_frame`;
const HIDE = `${SESSION}hide_frame`;

/** What each of these makes of the frame. No prototype: `toString` is a topic like others. */
export const VIEWS = { __proto__: null, [SHOW]: "shown", [MINIMISE]: "minimised", [HIDE]: "hidden" };

/** The other way round. */
export const TOPIC_OF = { shown: SHOW, minimised: MINIMISE, hidden: HIDE };

/** What follows from the frame node's decisions, or says what is seen of the page: nobody may publish it. */
export const DECIDED = new Set([
  ASKED,
  DECLINED,
  STARTED,
  STOPPED,
  UPDATE,
  SEEN,
  PAUSED,
  RESUMED,
  ACCEPTED,
  `${SESSION}chat/joined`,
  `${SESSION}chat/presence`,
  `${SESSION}proactive/trigger`,
  `${SESSION}frame/state`,
]);
