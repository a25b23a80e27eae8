// A page without a browser: its WebSocket, its clock and its events are moved by the test.

import { readFile } from "node:fs/promises";

const source = await readFile(new URL("../../../static/assets/feed.js", import.meta.url), "utf8");
export const { Feed, FeedError } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** Lets promises go on. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await null;
}

class FakeSocket {
  readyState = 0;
  sent = [];
  closed = false;

  constructor(world, url) {
    this.world = world;
    this.url = String(url);
    world.sockets.push(this);
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("this socket is not open");
    this.sent.push(JSON.parse(text));
  }

  /** The page closes. A dead line does not answer, so there is no event. */
  close() {
    this.closed = true;
    this.readyState = 2;
  }

  // -- what the server does

  open(hello = { v: 1, id: "c1", user: null, ping: 10, expires: null }) {
    this.readyState = 1;
    this.onopen?.();
    if (hello) this.says({ hello });
  }

  says(object) {
    this.onmessage?.({ data: JSON.stringify(object) });
  }

  ends(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

export class World {
  time = 1000;
  random = 0.5;
  sockets = [];
  errors = [];
  #timers = new Map();
  #id = 0;

  constructor() {
    const world = this;
    this.window = new EventTarget();
    this.document = Object.assign(new EventTarget(), { hidden: false });
    const globals = {
      location: { href: "https://example.org/app/page.html" },
      document: this.document,
      addEventListener: this.window.addEventListener.bind(this.window),
      performance: { now: () => this.time },
      setTimeout: (call, after = 0, ...given) => {
        this.#timers.set(++this.#id, { at: this.time + after, run: () => call(...given) });
        return this.#id;
      },
      clearTimeout: (id) => void this.#timers.delete(id),
      WebSocket: class extends FakeSocket {
        constructor(url) {
          super(world, url);
        }
      },
    };
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    Math.random = () => this.random;
    console.error = (...said) => this.errors.push(said);
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** Milliseconds until each timer. */
  get waits() {
    return [...this.#timers.values()].map(({ at }) => at - this.time);
  }

  /** Lets time pass, and what is due in it happen in its order. */
  async pass(milliseconds) {
    const end = this.time + milliseconds;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
    }
    this.time = end;
    await settle();
  }

  /** Opens a feed, and its first connection. */
  async opened(options, hello) {
    const feed = new Feed("/feed", options);
    await settle();
    this.socket.open(hello);
    return feed;
  }

  /** Lets time pass until there is another socket. */
  async reconnects() {
    for (const before = this.sockets.length; this.sockets.length === before; ) await this.pass(500);
  }

  /** Ends the connection, lets the pause pass, and opens the next one. */
  async returns() {
    this.socket.ends();
    await this.reconnects();
    this.socket.open();
  }

  happens(type, target = this.window) {
    target.dispatchEvent(new Event(type));
    return settle();
  }
}
