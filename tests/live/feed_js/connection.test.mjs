// How a page's feed connects, notices that a connection is dead, and comes back.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Feed, FeedError, World, settle } from "./world.mjs";

let world;
beforeEach(() => {
  world = new World();
});

test("the address is that of the page, encrypted as the page is", async () => {
  new Feed("../feed?room=1");
  new Feed("ws://other.example/feed");
  new Feed(new URL("http://localhost:8080/feed"));
  await settle();
  assert.deepEqual(world.sockets.map((socket) => socket.url), [
    "wss://example.org/feed?room=1",
    "ws://other.example/feed",
    "ws://localhost:8080/feed",
  ]);
});

test("the states of a feed are told", async () => {
  const states = [];
  const feed = new Feed("/feed", { onstate: (state) => states.push(state) });
  assert.equal(feed.state, "connecting");
  await settle();
  world.socket.open({ v: 1, user: "ann", ping: 10 });
  assert.equal(feed.user, "ann");
  world.socket.ends();
  await world.pass(2000);
  world.socket.open();
  feed.close();
  assert.deepEqual(states, ["open", "waiting", "connecting", "open", "closed"]);
});

test("commands go out in one breath, and none before the socket is open", async () => {
  const feed = new Feed("/feed", { token: "s3cret" });
  feed.subscribe("a", { recent: 5, rate: 2 });
  feed.subscribe("b", { since: "e:7" });
  await settle();
  assert.deepEqual(world.socket.sent, []);
  world.socket.open(null);
  const commands = world.socket.sent.map(({ id, ...command }) => command);
  assert.deepEqual(commands, [{ auth: "s3cret" }, { sub: "a", recent: 5, rate: 2 }, { sub: "b", since: "e:7" }]);
  world.socket.says({ hello: { v: 1, ping: 10 } });
  assert.equal(world.socket.sent.length, 3);
});

test("the first pause is any part of two seconds, and later ones grow to half a minute", async () => {
  for (const [random, pauses] of [
    [0, [0, 2000, 4000, 8000, 15_000, 15_000]],
    [1, [2000, 4000, 8000, 16_000, 30_000, 30_000]],
  ]) {
    world = new World();
    world.random = random;
    await world.opened();
    for (const pause of pauses) {
      world.socket.ends();
      assert.deepEqual(world.waits, [pause]);
      await world.pass(pause);
    }
  }
});

test("a connection that has lasted makes the next pause a first one", async () => {
  await world.opened();
  for (let time = 0; time < 3; time += 1) await world.returns();
  // Not one that the server ends at once.
  world.socket.ends();
  assert.deepEqual(world.waits, [12_000]);
  await world.pass(12_000);
  world.socket.open();
  for (let beat = 0; beat < 4; beat += 1) {
    await world.pass(9000);
    world.socket.says({});
  }
  world.socket.ends();
  assert.deepEqual(world.waits, [1000]);
});

test("two silent pings end a connection, and nobody waits for its close", async () => {
  const feed = await world.opened();
  const dead = world.socket;
  await world.pass(19_000);
  dead.says({});
  await world.pass(19_999);
  assert.equal(feed.state, "open");
  await world.pass(1);
  assert.equal(feed.state, "waiting");
  assert.equal(dead.closed, true);
  await world.pass(1000);
  assert.equal(world.sockets.length, 2);
  world.socket.open();
  // What comes of the old one in the end is of no interest.
  dead.says({ hello: { ping: 1 } });
  dead.ends(4403);
  assert.equal(feed.state, "open");
});

test("a server that says no hello is left after 15 s", async () => {
  new Feed("/feed");
  await settle();
  world.socket.open(null);
  await world.pass(14_999);
  assert.equal(world.sockets.length, 1);
  await world.pass(1001);
  assert.equal(world.sockets.length, 2);
  // Nor does a socket that does not open hold it up.
  await world.pass(15_000 + 3000);
  assert.equal(world.sockets.length, 3);
});

test("close codes say whether to come back", async () => {
  for (const code of [1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 3000, 4000, 4399, 4408, 4429, 4500]) {
    world = new World();
    const feed = await world.opened();
    world.socket.ends(code);
    assert.equal(feed.state, "waiting", code);
  }
  for (const code of [4400, 4401, 4403, 4404, 4499]) {
    world = new World();
    const feed = await world.opened({ token: "text" });
    const ends = [];
    feed.subscribe("a", { onend: (...end) => ends.push(end) });
    world.socket.ends(code, "not you");
    assert.equal(feed.state, "closed", code);
    assert.equal(feed.error.code, code);
    assert.match(feed.error.message, /not you/);
    assert.deepEqual(ends, [["closed", feed.error]]);
    assert.deepEqual(world.waits, []);
  }
});

test("4401 brings a new token", async () => {
  const tokens = ["old", "new"];
  const feed = await world.opened({ token: async () => tokens.shift() });
  assert.deepEqual(world.socket.sent, [{ auth: "old" }]);
  world.socket.ends(4401);
  await world.pass(1000);
  world.socket.open();
  assert.deepEqual(world.socket.sent, [{ auth: "new" }]);
  assert.equal(feed.state, "open");
});

test("a token is renewed in time", async () => {
  let tokens = 0;
  await world.opened({ token: () => `token ${++tokens}` }, { ping: 1000, expires: 600 });
  await world.pass(539_999);
  assert.equal(world.socket.sent.length, 1);
  await world.pass(1);
  assert.deepEqual(world.socket.sent[1], { auth: "token 2" });
  world.socket.says({ hello: { ping: 1000, expires: 60 } });
  await world.pass(54_000);
  assert.deepEqual(world.socket.sent[2], { auth: "token 3" });
  assert.equal(world.sockets.length, 1);
  // A month is more than a timer can hold.
  world.socket.says({ hello: { ping: 1000, expires: 30 * 86_400 } });
  assert.equal(world.socket.sent.length, 3);
});

test("a token that cannot be had is asked for again", async () => {
  let asked = 0;
  const token = async () => {
    asked += 1;
    if (asked < 3) throw new Error("no network");
    return "t";
  };
  const feed = new Feed("/feed", { token });
  await world.pass(0);
  assert.equal(feed.state, "waiting");
  await world.pass(1000 + 3000);
  assert.equal(asked, 3);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.errors.length, 2);
});

test("a token that comes too late belongs to nobody", async () => {
  const waiting = [];
  const feed = new Feed("/feed", { token: () => new Promise((resolve) => waiting.push(resolve)) });
  feed.reconnect();
  assert.equal(waiting.length, 2);
  waiting[0]("first");
  await settle();
  assert.equal(world.sockets.length, 0);
  waiting[1]("second");
  await settle();
  assert.equal(world.sockets.length, 1);
  feed.reconnect();
  feed.close();
  waiting[2]("third");
  await settle();
  assert.equal(world.sockets.length, 1);
});

test("a server that is no feed closes it for good", async () => {
  for (const data of ['{"sub":"a","id":1}', "hello", "[]", "null", "7"]) {
    world = new World();
    const feed = new Feed("/feed");
    feed.subscribe("a");
    await settle();
    world.socket.open(null);
    world.socket.onmessage({ data });
    assert.equal(feed.state, "closed", data);
    assert.equal(feed.error.code, "protocol");
    assert.equal(world.socket.closed, true);
  }
});

test("an address that cannot be is tried again and reported", async () => {
  globalThis.WebSocket = class {
    constructor() {
      throw new SyntaxError("no such scheme");
    }
  };
  const feed = new Feed("/feed");
  await settle();
  assert.equal(feed.state, "waiting");
  assert.match(String(world.errors[0]), /no such scheme/);
});

test("online means a new socket at once", async () => {
  const feed = await world.opened();
  const old = world.socket;
  await world.happens("online");
  assert.equal(old.closed, true);
  assert.equal(world.sockets.length, 2);
  world.socket.ends();
  await world.happens("online");
  assert.equal(world.sockets.length, 3);
  assert.equal(feed.state, "connecting");
});

test("offline means few attempts, and an open connection stays", async () => {
  const feed = await world.opened();
  await world.happens("offline");
  assert.equal(feed.state, "open");
  world.socket.ends();
  await world.happens("offline");
  assert.deepEqual(world.waits, [22_500]);
  await world.pass(22_500);
  assert.equal(world.sockets.length, 2);
});

test("a page that is seen again connects at once, or looks whether its line is dead", async () => {
  const feed = await world.opened();
  world.socket.ends();
  await world.happens("visibilitychange", world.document);
  assert.equal(world.sockets.length, 2);
  world.socket.open();
  world.document.hidden = true;
  world.socket.ends();
  await world.happens("visibilitychange", world.document);
  assert.equal(feed.state, "waiting");
  await world.reconnects();
  world.socket.open();
  // Timers of a hidden page run late: here not at all.
  world.time += 60_000;
  world.document.hidden = false;
  await world.happens("visibilitychange", world.document);
  assert.equal(feed.state, "connecting");
  assert.equal(world.sockets.length, 4);
});

test("a closed feed leaves nothing behind", async () => {
  const feed = await world.opened({ token: () => "t" }, { ping: 10, expires: 60 });
  const published = feed.publish("a", 1);
  feed.close();
  feed.close();
  await assert.rejects(published, FeedError);
  assert.deepEqual(world.waits, []);
  assert.equal(world.socket.closed, true);
  await world.happens("online");
  await world.happens("visibilitychange", world.document);
  assert.equal(world.sockets.length, 1);
  assert.equal(feed.error, undefined);
  assert.throws(() => feed.subscribe("a"), { name: "FeedError", code: "closed" });
  assert.throws(() => feed.reconnect(), { code: "closed" });
  await assert.rejects(feed.publish("a", 1), { code: "closed" });
});

test("a feed that its own handler closes stays closed", async () => {
  for (const when of ["open", "waiting", "connecting"]) {
    world = new World();
    const feed = new Feed("/feed", { onstate: (state) => state === when && feed.close() });
    await settle();
    world.socket.open();
    if (feed.state !== "closed") world.socket.ends();
    await world.pass(100_000);
    assert.equal(feed.state, "closed", when);
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(world.waits, []);
  }
});
