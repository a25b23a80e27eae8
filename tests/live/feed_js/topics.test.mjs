// What a page hears of its topics, and where each goes on.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";

import { World } from "./world.mjs";

let world, feed, heard;
beforeEach(async () => {
  world = new World();
  feed = await world.opened();
  heard = [];
});

/** Handlers that note all they are told. */
function noting() {
  const kinds = ["message", "change", "live", "gap", "sync", "presence", "end"];
  return Object.fromEntries(kinds.map((kind) => [`on${kind}`, (...given) => heard.push([kind, ...given])]));
}

const SYNC = { at: "e:0", resumed: null, missed: 0, reason: null, snapshot: false, lossy: false };

function synced(topic, changes) {
  world.socket.says({ t: topic, sync: { ...SYNC, ...changes } });
}

/** The last command that the server got. */
function last() {
  const { id, ...command } = world.socket.sent.at(-1);
  return command;
}

test("messages have their data, position and author", () => {
  const sub = feed.subscribe("a", noting());
  synced("a");
  world.socket.says({ t: "a", at: "e:1", u: "ann", d: { text: "hi" }, later: 1 });
  world.socket.says({ t: "a", at: "e:2", d: null });
  world.socket.says({ t: "a", at: "e:3", b: "AP8=" });
  world.socket.says({ t: "a", at: "e:4", b: "" });
  assert.deepEqual(heard.slice(1), [
    ["message", { topic: "a", data: { text: "hi" }, at: "e:1", user: "ann" }],
    ["message", { topic: "a", data: null, at: "e:2", user: undefined }],
    ["message", { topic: "a", data: new Uint8Array([0, 255]), at: "e:3", user: undefined }],
    ["message", { topic: "a", data: new Uint8Array([]), at: "e:4", user: undefined }],
  ]);
  assert.equal(sub.at, "e:4");
});

test("what a later server says is ignored", () => {
  const sub = feed.subscribe("a", noting());
  synced("a");
  world.socket.says({ t: "a", wave: 1, at: "e:9" });
  world.socket.says({ t: "unknown", d: 1 });
  world.socket.says({ wave: 1 });
  assert.equal(heard.length, 1);
  assert.equal(sub.at, "e:0");
  assert.equal(feed.state, "open");
});

test("a topic is joining, then live, and joining again without a connection", async () => {
  const sub = feed.subscribe("a", noting());
  assert.equal(sub.state, "joining");
  synced("a");
  world.socket.says({ t: "a", live: "e:0" });
  assert.equal(sub.state, "live");
  world.socket.says({ t: "a", live: "e:0" });
  world.socket.ends();
  assert.equal(sub.state, "joining");
  assert.deepEqual(heard.map(([kind]) => kind), ["sync", "live"]);
});

test("a topic goes on behind its last message", async () => {
  feed.subscribe("a", { recent: 3, ...noting() });
  synced("a", { at: "e:7" });
  await world.returns();
  assert.deepEqual(last(), { sub: "a", since: "e:7", recent: 3 });
  synced("a", { at: "e:7", resumed: true });
  world.socket.says({ t: "a", at: "e:8", d: 1 });
  await world.returns();
  assert.deepEqual(last(), { sub: "a", since: "e:8", recent: 3 });
  // Another life of the topic: its position counts from now on.
  synced("a", { at: "f:0", resumed: false, missed: null, reason: "epoch" });
  await world.returns();
  assert.deepEqual(last(), { sub: "a", since: "f:0", recent: 3 });
});

test("a topic that keeps nothing has no position", async () => {
  const sub = feed.subscribe("a", noting());
  synced("a", { at: null, lossy: true });
  world.socket.says({ t: "a", live: null });
  world.socket.says({ t: "a", d: 1 });
  assert.equal(sub.at ?? null, null);
  await world.returns();
  assert.equal(last().since ?? null, null);
});

test("a keyed topic is a Map", () => {
  const sub = feed.subscribe("q", noting());
  const { values } = sub;
  synced("q", { at: "e:5", snapshot: true });
  world.socket.says({ t: "q", snap: { x: 1, y: 2 } });
  world.socket.says({ t: "q", snap: { z: 3 } });
  world.socket.says({ t: "q", live: "e:5" });
  assert.deepEqual([...values], [["x", 1], ["y", 2], ["z", 3]]);
  world.socket.says({ t: "q", set: { x: 9, __proto: null }, rm: ["y"] });
  world.socket.says({ t: "q", rm: ["z"] });
  assert.deepEqual([...values], [["x", 9], ["__proto", null]]);
  world.socket.says({ t: "q", clear: true });
  assert.equal(values.size, 0);
  assert.equal(sub.values, values);
  assert.deepEqual(heard.filter(([kind]) => kind === "change").map(([, change]) => change), [
    { set: {}, rm: [], clear: true },
    { set: { x: 1, y: 2 }, rm: [], clear: false },
    { set: { z: 3 }, rm: [], clear: false },
    { set: { x: 9, __proto: null }, rm: ["y"], clear: false },
    { set: {}, rm: ["z"], clear: false },
    { set: {}, rm: [], clear: true },
  ]);
});

test("a part of a snapshot is no position", async () => {
  const sub = feed.subscribe("q", { since: "e:1" });
  synced("q", { at: "e:5", snapshot: true, resumed: false });
  world.socket.says({ t: "q", snap: { x: 1 } });
  await world.returns();
  assert.deepEqual(last(), { sub: "q" });
  synced("q", { at: "e:6", snapshot: true });
  assert.equal(sub.values.size, 0);
  world.socket.says({ t: "q", live: "e:6" });
  world.socket.says({ t: "q", set: { x: 2 } });
  await world.returns();
  assert.deepEqual(last(), { sub: "q", since: "e:6" });
  // What follows a position is there when it is live, not when it begins.
  synced("q", { at: "e:9", resumed: true });
  world.socket.says({ t: "q", set: { x: 3 } });
  assert.deepEqual([...sub.values], [["x", 3]]);
  await world.returns();
  assert.deepEqual(last(), { sub: "q", since: "e:6" });
});

test("a topic that the server begins by itself goes on where it was", async () => {
  const sub = feed.subscribe("a", noting());
  const { id } = world.socket.sent[0];
  synced("a", { at: "e:7" });
  world.socket.says({ t: "a", live: "e:7" });
  world.socket.says({ id, t: "a", error: { code: "subscribed", reason: "" } });
  world.socket.says({ t: "a", at: "e:8", d: 8 });
  assert.equal(world.socket.sent.length, 1);
  await world.returns();
  heard.length = 0;
  // Nobody asked for this beginning, which lacks 9.
  synced("a", { at: "e:9" });
  world.socket.says({ id: world.socket.sent[0].id, t: "a", error: { code: "subscribed", reason: "" } });
  world.socket.says({ t: "a", at: "e:10", d: 10 });
  const commands = world.socket.sent.map(({ id: _, ...command }) => command);
  assert.deepEqual(commands, [{ sub: "a", since: "e:8" }, { unsub: "a" }, { sub: "a", since: "e:8" }]);
  assert.deepEqual(heard, []);
  world.socket.says({ t: "a", end: "unsub" });
  synced("a", { at: "e:8", resumed: true });
  world.socket.says({ t: "a", at: "e:9", d: 9 });
  assert.equal(sub.at, "e:9");
});

test("a topic that the server has begun before the page wants it begins again", () => {
  synced("q", { at: "e:1", snapshot: true });
  world.socket.says({ t: "q", snap: { x: 1 } });
  world.socket.says({ t: "q", live: "e:1" });
  const sub = feed.subscribe("q");
  world.socket.says({ id: world.socket.sent[0].id, t: "q", error: { code: "subscribed", reason: "" } });
  const commands = world.socket.sent.map(({ id: _, ...command }) => command);
  assert.deepEqual(commands, [{ sub: "q" }, { unsub: "q" }, { sub: "q" }]);
  world.socket.says({ t: "q", end: "unsub" });
  synced("q", { at: "e:1", snapshot: true });
  world.socket.says({ t: "q", snap: { x: 1 } });
  world.socket.says({ t: "q", live: "e:1" });
  assert.deepEqual([...sub.values, sub.state], [["x", 1], "live"]);
});

test("what does not come is told, at a return and in between", () => {
  feed.subscribe("a", noting());
  synced("a");
  synced("a", { resumed: true });
  synced("a", { resumed: false, missed: 3, reason: "limit" });
  world.socket.says({ t: "a", gap: { missed: null, reason: "bus" } });
  // A snapshot is all that there is.
  synced("a", { resumed: false, missed: null, reason: "epoch", snapshot: true });
  const gaps = heard.filter(([kind]) => kind === "gap").map(([, { missed, reason }]) => [missed, reason]);
  assert.deepEqual(gaps, [[3, "limit"], [null, "bus"]]);
});

test("who is here", () => {
  const sub = feed.subscribe("a", noting());
  const { members } = sub;
  const told = (presence, ...ids) => {
    world.socket.says({ t: "a", presence });
    assert.deepEqual(heard.pop(), ["presence", presence]);
    assert.deepEqual([...sub.members].map(([id, { n }]) => `${id} ${n}`), ids);
  };
  told({ count: 1, list: [{ id: "ann", n: 2 }] }, "ann 2");
  told({ count: 2, join: [{ id: "bob", n: 1 }, { id: "ann", n: 3 }] }, "ann 3", "bob 1");
  told({ count: 2, join: [{ id: "eve", n: 1 }], leave: ["ann"] }, "bob 1", "eve 1");
  told({ count: 1, leave: ["bob"] }, "eve 1");
  told({ count: 201 });
  told({ count: 1, list: [{ id: "ann", n: 1 }] }, "ann 1");
  told({ count: 0, list: [] });
  assert.equal(sub.members, members);
});

test("handlers may be set later", () => {
  const sub = feed.subscribe("a");
  synced("a");
  world.socket.says({ t: "a", d: 1 });
  sub.onmessage = ({ data }) => heard.push(data);
  world.socket.says({ t: "a", d: 2 });
  assert.deepEqual(heard, [2]);
});

test("a handler that fails has its message, and the next ones come", () => {
  const sub = feed.subscribe("a", { onmessage: () => { throw new Error("mine"); } });
  synced("a");
  assert.throws(() => world.socket.says({ t: "a", at: "e:1", d: 1 }), /mine/);
  assert.equal(sub.at, "e:1");
  assert.throws(() => world.socket.says({ t: "a", at: "e:2", d: 1 }), /mine/);
  assert.equal(sub.at, "e:2");
});

test("each topic once", () => {
  feed.subscribe("a");
  assert.throws(() => feed.subscribe("a"), { name: "FeedError", code: "subscribed" });
});

test("an end by the server is told, and the topic does not come back", async () => {
  const sub = feed.subscribe("a", noting());
  feed.subscribe("b");
  world.socket.says({ t: "a", end: "revoked" });
  assert.deepEqual(heard, [["end", "revoked", undefined]]);
  assert.equal(sub.state, "ended");
  await world.returns();
  assert.deepEqual(world.socket.sent.map((command) => command.sub), ["b"]);
  feed.subscribe("a");
});

test("a refused topic ends with its error", () => {
  feed.subscribe("a", noting());
  const { id } = world.socket.sent.at(-1);
  world.socket.says({ id, t: "a", error: { code: "forbidden", reason: "not yours" } });
  const [[kind, reason, error]] = heard;
  assert.deepEqual([kind, reason, error.name, error.code, error.message], [
    "end", "forbidden", "FeedError", "forbidden", "not yours",
  ]);
});

test("a refusal that passes is tried again", async () => {
  const sub = feed.subscribe("a", noting());
  const { id } = world.socket.sent.at(-1);
  world.socket.says({ id, t: "a", error: { code: "too_fast", reason: "", retry_ms: 800 } });
  await world.pass(799);
  assert.equal(world.socket.sent.length, 1);
  await world.pass(1);
  assert.equal(world.socket.sent.length, 2);
  assert.equal(sub.state, "joining");
  assert.deepEqual(heard, []);
  // Not on a connection on which it has been sent already, nor when it was left.
  world.socket.says({ id: world.socket.sent.at(-1).id, t: "a", error: { code: "too_fast", retry_ms: 5000 } });
  await world.returns();
  await world.pass(5000);
  assert.equal(world.socket.sent.length, 1);
  world.socket.says({ id: world.socket.sent[0].id, t: "a", error: { code: "unavailable", retry_ms: 5000 } });
  sub.unsubscribe();
  await world.pass(5000);
  assert.deepEqual(world.socket.sent.slice(1).map(({ id: _, ...command }) => command), [{ unsub: "a" }]);
});

test("many topics are asked for no faster than a feed takes commands", async () => {
  for (let topic = 0; topic < 300; topic += 1) feed.subscribe(`${topic}`);
  for (let connection = 0; connection < 2; connection += 1) {
    for (let second = 1; second <= 12; second += 1) {
      assert.ok(world.socket.sent.length <= 20 + 25 * second, `${world.socket.sent.length} in ${second} s`);
      await world.pass(1000);
      world.socket.says({});
    }
    assert.deepEqual(world.socket.sent.map(({ sub }) => sub), [...Array(300).keys()].map(String));
    await world.returns();
  }
});

test("a topic that is left before it was asked for is not asked for", async () => {
  const subs = [...Array(40).keys()].map((topic) => feed.subscribe(`${topic}`));
  subs[30].unsubscribe();
  feed.subscribe("30");
  await world.pass(2000);
  const asked = world.socket.sent.map((command) => command.sub).filter((topic) => topic);
  assert.deepEqual(asked.filter((topic) => topic === "30"), ["30"]);
  assert.equal(asked.length, 40);
});

test("what is left says nothing more, and can be joined again at once", () => {
  const old = feed.subscribe("a", noting());
  synced("a");
  heard.length = 0;
  old.unsubscribe();
  old.unsubscribe();
  assert.deepEqual(heard, [["end", "unsub", undefined]]);
  assert.equal(old.state, "ended");
  const young = feed.subscribe("a", noting());
  old.unsubscribe();
  assert.deepEqual(world.socket.sent.map(({ id, ...command }) => command), [{ sub: "a" }, { unsub: "a" }, { sub: "a" }]);
  heard.length = 0;
  world.socket.says({ t: "a", at: "e:1", d: "old" });
  // The server may have ended it by itself at the same time.
  world.socket.says({ t: "a", end: "revoked" });
  world.socket.says({ t: "a", end: "unsub" });
  synced("a", { at: "e:1" });
  world.socket.says({ t: "a", at: "e:2", d: "young" });
  assert.deepEqual(heard.map(([kind]) => kind), ["sync", "message"]);
  assert.equal(young.at, "e:2");
});

test("what was never asked for need not be left", async () => {
  world.socket.ends();
  const sub = feed.subscribe("a");
  sub.unsubscribe();
  await world.pass(2000);
  world.socket.open();
  assert.deepEqual(world.socket.sent, []);
});

test("each message of the protocol means something here", async () => {
  const rows = JSON.parse(await readFile(process.env.FEED_TABLE, "utf8"));
  for (const text of rows) {
    const said = JSON.parse(text);
    world = new World();
    feed = await world.opened();
    heard = [];
    if (said.t) feed.subscribe(said.t, noting());
    // Errors and acks name a command.
    if (said.id) Object.assign(said, { id: world.socket.sent.at(-1)?.id ?? said.id });
    world.socket.says(said);
    assert.equal(feed.state, "open", text);
    assert.equal(heard.length > 0, Boolean(said.t) && !said.error?.retry_ms, text);
  }
});
