// The console's way to the gateway: requests and their replies, what follows when a socket closes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Link } from "../../src/console/link.js";

/** A link whose sockets, time and answers the test makes; `status` is what the gateway answers to a request. */
function made(status = 200, clock = { now: 1000 }) {
  const sockets = [];
  const timers = [];
  const told = [];
  const asked = [];
  const link = new Link(
    {
      heard: (message) => told.push(message.t),
      quality: (ms) => told.push(ms),
      silent: (seconds) => told.push(`silent ${seconds}`),
      out: (words) => told.push(`out: ${words}`),
    },
    {
      open: () => {
        const socket = { sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close: () => 0 };
        sockets.push(socket);
        return socket;
      },
      fetch: async (path) => {
        asked.push(path);
        return { ok: status === 200, status, json: async () => ({ why: "raw reason" }) };
      },
      after: (seconds, fun) => timers.push({ seconds, fun }),
      every: () => 0,
      now: () => clock.now,
      random: () => 0,
    },
  );
  const say = (message) => sockets.at(-1).onmessage({ data: JSON.stringify(message) });
  return { link, sockets, timers, told, asked, say, last: () => sockets.at(-1) };
}

test("nothing is sent before the welcome; a request gets the reply of its id", async () => {
  const { link, say, last } = made();
  await link.resume();
  assert.equal((await link.ask({ t: "join", code: "1" })).ok, false);
  say({ t: "welcome" });
  const [first, second] = [link.ask({ t: "join", code: "2" }), link.ask({ t: "stop", session: "s" })];
  assert.deepEqual(last().sent.map(({ t, id }) => [t, id]), [["ping", undefined], ["join", 2], ["stop", 3]]);
  say({ t: "refused", id: 3, error: "NotAllowed", why: "raw reason" });
  say({ t: "reply", id: 2, ok: true, state: null });
  assert.deepEqual([(await first).ok, await second], [true, { ok: false, error: "NotAllowed" }]);
});

test("a lost socket ends what waits for a reply, and the next one is opened after the back-off", async () => {
  const { link, sockets, timers, say, last, told } = made();
  await link.resume();
  say({ t: "welcome" });
  const waits = link.ask({ t: "join", code: "1" });
  await last().onclose({ code: 1006, reason: "" });
  assert.equal((await waits).ok, false);
  assert.equal(told.at(-1), null, "no quality");
  assert.deepEqual(timers.map(({ seconds }) => seconds), [0.25]);
  timers[0].fun();
  assert.equal(sockets.length, 2);
});

test("a code for `never` shows the door, in words for people; one that names a wait is waited for", async () => {
  const over = made();
  await over.link.resume();
  over.say({ t: "welcome" });
  await over.last().onclose({ code: 4001, reason: "another window of this agent was opened" });
  assert.equal(over.told.at(-1), "out: This console was closed: it was opened in another window, or you signed out there.");
  assert.deepEqual(over.timers, []);
  const limited = made();
  await limited.link.resume();
  limited.say({ t: "welcome" });
  await limited.last().onclose({ code: 4008, reason: "went on past a limit" });
  assert.deepEqual(limited.timers.map(({ seconds }) => seconds), [30]);
});

test("a socket that was refused: the gateway is asked whether the agent is signed in still", async () => {
  const { link, timers, told, asked, last } = made(401);
  link.dial();
  await last().onclose({ code: 1006, reason: "" });
  assert.deepEqual(asked, ["/agent/me"]);
  assert.equal(told.at(-1), "out: Please sign in again.");
  assert.deepEqual(timers, []);
});

test("a sign-in that fails says why and opens nothing", async () => {
  const { link, sockets } = made(401);
  assert.equal(await link.signIn("ada", "x"), "This name and password do not belong together.");
  assert.deepEqual(sockets, []);
});

test("a gateway that does not answer is said to be silent, and left after 20 s; a timer that comes late proves nothing", () => {
  const clock = { now: 0 };
  const { link, sockets, say, told } = made(200, clock);
  link.dial();
  say({ t: "welcome" });
  const after = (seconds) => {
    clock.now += seconds * 1000;
    link.ping();
  };
  say({ t: "pong", at: 0 });
  after(60); // a tab in the background: nothing was asked meanwhile
  assert.ok(!told.includes("silent 60"));
  after(4);
  assert.ok(!told.some((each) => String(each).startsWith("silent")));
  after(2);
  assert.equal(told.at(-1), "silent 6");
  say({ t: "pong", at: 0 });
  assert.ok(told.includes("silent 0"));
  after(1);
  after(20);
  assert.equal(link.socket, null);
  assert.equal(sockets.length, 1, "the next one waits for the back-off");
});
