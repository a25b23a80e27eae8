// What a page publishes: its answer, and what becomes of it without a connection.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Feed, World, settle } from "./world.mjs";

let world, feed;
beforeEach(async () => {
  world = new World();
  feed = await world.opened();
});

function acks(fields = { at: "e:1", dup: false }) {
  world.socket.says({ id: world.socket.sent.at(-1).id, ack: fields });
}

test("an ack is the answer", async () => {
  const published = feed.publish("a", { text: "hi" });
  assert.deepEqual(world.socket.sent[0], { pub: "a", d: { text: "hi" }, id: 1 });
  acks();
  assert.deepEqual(await published, { at: "e:1", dup: false });
  assert.equal(world.waits.length, 1, "only the one for silence");
});

test("the fields of a command", async () => {
  feed.publish("a", 1, { key: "k", once: "o" });
  feed.publish("a", undefined, { key: "k", remove: true });
  feed.publish("a", null);
  assert.deepEqual(world.socket.sent.map(({ id, ...command }) => command), [
    { pub: "a", d: 1, k: "k", once: "o" },
    { pub: "a", k: "k", rm: true },
    { pub: "a", d: null },
  ]);
});

test("an error is the answer too", async () => {
  const published = feed.publish("a", 1);
  const { id } = world.socket.sent[0];
  world.socket.says({ id, t: "a", error: { code: "too_fast", reason: "one a second", retry_ms: 800 } });
  await assert.rejects(published, { name: "FeedError", code: "too_fast", message: "one a second", retry: 800 });
  world.socket.says({ id, ack: {} });
});

test("no answer is one after a while", async () => {
  const published = feed.publish("a", 1, { timeout: 500 });
  const rejected = assert.rejects(published, { code: "timeout" });
  await world.pass(500);
  await rejected;
  acks();
});

test("what is no JSON is refused", async () => {
  const circle = {};
  circle.circle = circle;
  await assert.rejects(feed.publish("a", circle), TypeError);
  await assert.rejects(feed.publish("a", 1n), TypeError);
});

test("without a connection it waits for one", async () => {
  world.socket.ends();
  const published = feed.publish("a", 1);
  await world.pass(2000);
  world.socket.open();
  assert.equal(world.socket.sent.length, 1);
  acks();
  assert.equal((await published).at, "e:1");
});

test("what was sent and not answered is lost, but for once", async () => {
  const rejected = assert.rejects(feed.publish("a", 1), { code: "lost" });
  const published = feed.publish("a", 2, { once: "x", timeout: 60_000 });
  const sent = world.socket.sent.at(-1);
  await world.returns();
  await rejected;
  assert.deepEqual(world.socket.sent, [sent]);
  acks({ at: "e:1", dup: true });
  assert.deepEqual(await published, { at: "e:1", dup: true });
});

test("what waits for a feed that is refused hears why", async () => {
  const other = new Feed("/feed");
  const rejected = assert.rejects(other.publish("a", 1), { code: 4403, message: "not you" });
  await settle();
  world.socket.ends(4403, "not you");
  await rejected;
});
