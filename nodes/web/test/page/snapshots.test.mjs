// When snapshots are taken: never too often, and each one that was asked for.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Snapshots } from "../../src/page/snapshots.js";

function made() {
  const world = { now: 1000, taken: [], timers: [] };
  const snapshots = new Snapshots({
    take: () => {
      world.taken.push(world.now);
      snapshots.taken();
    },
    now: () => world.now,
    after: (ms, fun) => {
      const timer = { at: world.now + ms, fun };
      world.timers.push(timer);
      return () => (world.timers = world.timers.filter((each) => each !== timer));
    },
  });
  const until = (now) => {
    world.now = now;
    for (const timer of world.timers.filter(({ at }) => at <= now)) {
      world.timers = world.timers.filter((each) => each !== timer);
      timer.fun();
    }
  };
  return { world, snapshots, until };
}

test("the first one is taken at once", () => {
  const { world, snapshots } = made();
  snapshots.want();
  assert.deepEqual(world.taken, [1000]);
});

test("one that is asked for right after another is taken once that one is old enough, and is not left out", () => {
  const { world, snapshots, until } = made();
  snapshots.want();
  until(1010);
  snapshots.want();
  snapshots.want();
  assert.deepEqual(world.taken, [1000]);
  until(1249);
  assert.deepEqual(world.taken, [1000]);
  until(1250);
  assert.deepEqual(world.taken, [1000, 1250], "two that waited are one");
});

test("one that was taken for another reason serves all who wait", () => {
  const { world, snapshots, until } = made();
  snapshots.want();
  until(1010);
  snapshots.want();
  until(1020);
  snapshots.taken();
  until(2000);
  assert.deepEqual(world.taken, [1000]);
});

test("the caller may have it after it has returned", () => {
  const { world, snapshots, until } = made();
  snapshots.want({ later: true });
  assert.deepEqual(world.taken, []);
  until(1000);
  assert.deepEqual(world.taken, [1000]);
});

test("after the end none is taken", () => {
  const { world, snapshots, until } = made();
  snapshots.want({ later: true });
  snapshots.end();
  until(3000);
  assert.deepEqual(world.taken, []);
});
