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

/** The error `name`, for a value that is not as it is `expected`, in the form of fabric/errors.py. */
export function invalid(name, what, value, expected) {
  return problem(name, `invalid ${what} ${shown(value)}: expected ${expected}`);
}

/** Throw InvalidTopic unless `topic` can be published to. */
export function validateTopic(topic) {
  validate(topic, "topic", "InvalidTopic", /[+#]/.test(topic) && "no + or #");
}

/** Throw InvalidFilter unless each wildcard is a whole level, and `#` the last one. */
export function validateFilter(filter) {
  const isWrong = /[^/][+#]|[+#][^/]|#\//.test(filter);
  validate(filter, "filter", "InvalidFilter", isWrong && "+ or # as a whole level, and # as the last one");
}

/** How far a valid topic or filter reaches: "local", "pagesession", "system", or "" for the fabric. */
export function scope(topicOrFilter) {
  const first = topicOrFilter.split("/", 1)[0];
  if (first === "~") return "local";
  if (first === "~pagesession") return "pagesession";
  if (first.startsWith("~")) {
    throw invalid("ScopeError", "scope", first, "~, ~pagesession, or no leading ~");
  }
  return first.startsWith("$") ? "system" : "";
}

/** Return whether a valid filter matches a valid topic (MQTT 5.0, section 4.7). */
export function matches(filter, topic) {
  if (/^[+#]/.test(filter) && /^[$~]/.test(topic)) return false;
  const wanted = filter.split("/");
  const levels = topic.split("/");
  for (let index = 0; index < wanted.length; index += 1) {
    if (wanted[index] === "#") return true;
    if (index === levels.length || (wanted[index] !== "+" && wanted[index] !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}

function validate(value, what, name, expected) {
  const found = wrongWith(value) || expected;
  if (found) throw invalid(name, what, value, found);
}

function wrongWith(value) {
  if (typeof value !== "string") return "a string";
  if (!value) return "at least one character";
  if (/\p{Surrogate}/u.test(value)) return "no half of a surrogate pair";
  if (new TextEncoder().encode(value).length > MAX_TOPIC_BYTES) return `at most ${MAX_TOPIC_BYTES} bytes`;
  if (value.includes("\0")) return "no NUL";
  if (value.split("/").length > MAX_LEVELS) return `at most ${MAX_LEVELS} levels`;
  return "";
}
