// Topics and filters in the browser: the rules of fabric/topics.py, which explains them. Pure.
// Both are held to the same cases, tests/vectors.json.

const MAX_TOPIC_BYTES = 65535;
const MAX_LEVELS = 201;
const SHOWN_CHARS = 60;

/** An error with a name: InvalidTopic, InvalidFilter, ScopeError, StateError, HighWaterMarkReached. */
export function problem(name, words) {
  const error = new Error(words);
  error.name = name;
  return error;
}

export function shown(value) {
  const text = String(JSON.stringify(value));
  return text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS - 1)}…`;
}

/** Throw InvalidTopic unless `topic` can be published to. */
export function validateTopic(topic) {
  validate(topic, "topic", "InvalidTopic");
  if (/[+#]/.test(topic)) {
    throw problem("InvalidTopic", `topic ${shown(topic)} holds a wildcard: '+' and '#' may stand in filters only`);
  }
}

/** Throw InvalidFilter unless each wildcard is a whole level, and `#` the last one. */
export function validateFilter(filter) {
  validate(filter, "filter", "InvalidFilter");
  const levels = filter.split("/");
  levels.forEach((level, index) => {
    if (level.length > 1 && /[+#]/.test(level)) {
      throw problem("InvalidFilter", `filter ${shown(filter)}: '+' or '#' must be the whole of level ${index + 1}`);
    }
    if (level === "#" && index < levels.length - 1) {
      throw problem("InvalidFilter", `filter ${shown(filter)}: '#' must be the last level`);
    }
  });
}

/** How far a valid topic or filter reaches: "local", "pagesession", "system", or "" for the fabric. */
export function scope(topicOrFilter) {
  const first = topicOrFilter.split("/", 1)[0];
  if (first === "~") return "local";
  if (first === "~pagesession") return "pagesession";
  if (first.startsWith("~")) {
    throw problem("ScopeError", `${shown(first)} is no scope: use '~', '~pagesession', or no leading '~'`);
  }
  return first.startsWith("$") ? "system" : "";
}

/** Return whether a valid filter matches a valid topic (MQTT 5.0, section 4.7). */
export function matches(filter, topic) {
  const wanted = filter.split("/");
  const levels = topic.split("/");
  if ((wanted[0] === "+" || wanted[0] === "#") && /^[$~]/.test(topic)) return false;
  for (let index = 0; index < wanted.length; index += 1) {
    if (wanted[index] === "#") return true;
    if (index === levels.length || (wanted[index] !== "+" && wanted[index] !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}

function validate(value, what, name) {
  const wrong = wrongWith(value);
  if (wrong) throw problem(name, `${what} ${shown(value)} ${wrong}`);
}

function wrongWith(value) {
  if (typeof value !== "string") return `is ${typeof value}, but must be a string`;
  if (!value) return "is empty, but must have at least one character";
  if (/\p{Surrogate}/u.test(value)) return "holds half a surrogate pair: it must be valid UTF-8";
  if (new TextEncoder().encode(value).length > MAX_TOPIC_BYTES) return `has more than ${MAX_TOPIC_BYTES} bytes`;
  if (value.includes("\0")) return "holds NUL, which ends a topic on the wire: leave it out";
  if (value.split("/").length > MAX_LEVELS) return `has more than ${MAX_LEVELS} levels`;
  return "";
}
