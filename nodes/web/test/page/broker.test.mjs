// The page's broker: the cases of the Python matcher (tests/vectors.json), and what only a broker does.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Broker } from "../../src/page/broker.js";
import { matches, scope, validateFilter, validateTopic } from "../../src/page/topics.js";

const vectors = JSON.parse(readFileSync(new URL("../../../../tests/vectors.json", import.meta.url), "utf8"));

test("agrees with the standard and other projects", () => {
  assert.ok(vectors.length > 200);
  for (const vector of vectors) {
    if ("matches" in vector) {
      validateFilter(vector.filter);
      validateTopic(vector.topic);
      const broker = new Broker();
      broker.subscribe(vector.filter, null);
      assert.equal(broker.match(vector.topic).length === 1, vector.matches, JSON.stringify(vector));
      assert.equal(matches(vector.filter, vector.topic), vector.matches, JSON.stringify(vector));
      continue;
    }
    const check = () => ("filter" in vector ? validateFilter(vector.filter) : validateTopic(vector.topic));
    const name = "filter" in vector ? "InvalidFilter" : "InvalidTopic";
    if (vector.valid) check();
    else assert.throws(check, { name }, JSON.stringify(vector));
  }
});

test("agrees with a regular expression on every small world", () => {
  const levels = ["", "a", "b", "$", "~", "~a"];
  const topics = worlds(levels, 3).filter(Boolean);
  const filters = worlds([...levels, "+", "#"], 3).filter((filter) => filter && !/#\//.test(filter));
  for (const filter of filters) {
    const pattern = oracle(filter);
    for (const topic of topics) assert.equal(matches(filter, topic), pattern.test(topic), `${filter} ${topic}`);
  }
});

function worlds(levels, depth) {
  let found = levels;
  const all = [...found];
  for (let more = 1; more < depth; more += 1) {
    found = found.flatMap((start) => levels.map((level) => `${start}/${level}`));
    all.push(...found);
  }
  return all;
}

function oracle(filter) {
  const guard = /^[+#]/.test(filter) ? "(?![$~])" : "";
  const body = filter
    .replace(/[$.\\]/g, "\\$&")
    .replace(/\+/g, "[^/]*")
    .replace(/\/#$/, "(/.*)?")
    .replace(/^#$/, ".*");
  return new RegExp(`^${guard}${body}$`);
}

test("a topic goes to each subscription once, in the order they were made", () => {
  const broker = new Broker();
  const ids = ["a/#", "a/b", "+/b", "a/c"].map((filter) => broker.subscribe(filter, filter));
  assert.deepEqual(broker.match("a/b").map((each) => each.id), ids.slice(0, 3));
  broker.unsubscribe(ids[1]);
  assert.deepEqual(broker.match("a/b").map((each) => each.id), [ids[0], ids[2]]);
  assert.throws(() => broker.unsubscribe(ids[1]), { name: "StateError" });
  assert.throws(() => broker.subscribe("a#", null), { name: "InvalidFilter" });
  assert.equal(broker.subscribe("a/b", null), ids[3] + 1);
});

test("one that was unsubscribed while a message is handed round is not active any more", () => {
  const broker = new Broker();
  const id = broker.subscribe("a", null);
  const [found] = broker.match("a");
  broker.unsubscribe(id);
  assert.equal(found.active, false);
});

test("ids that were handed out before the load are kept", () => {
  const broker = new Broker(8);
  assert.equal(broker.subscribe("a", null, 3), 3);
  assert.equal(broker.subscribe("a", null), 8);
});

test("scopes are decided on the whole first level", () => {
  const found = ["~/a", "~", "~pagesession/x", "$fabric/x", "a/~"].map(scope);
  assert.deepEqual(found, ["local", "local", "pagesession", "system", ""]);
  assert.throws(() => scope("~pagesessions/x"), { name: "ScopeError" });
});
