// See feed.d.ts.

/** Milliseconds. Pauses are random. */
const FIRST_PAUSE = 2000;
const LAST_PAUSE = 30_000;
/** For hello and acks. */
const PATIENCE = 15_000;

export class FeedError extends Error {
  constructor({ code, reason, retry_ms }) {
    super(reason || `${code}`);
    Object.assign(this, { name: "FeedError", code, reason, retry: retry_ms });
  }
}

export class Feed {
  state = "connecting";
  #url;
  #token;
  #renews;
  #socket;
  #failures = 0;
  #heard;
  #silence;
  #timer;
  #renewal;
  #id = 0;
  #turn = 0;
  #topics = new Map();
  #calls = new Map();
  /** Topics whose end is to come, by id. */
  #leaving = new Map();
  #listening = new AbortController();

  constructor(url, { token, onstate } = {}) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#renews = typeof token === "function";
    this.#token = this.#renews ? token : () => token;
    this.onstate = onstate;
    const on = (target, type, call) => target?.addEventListener?.(type, call, this.#listening);
    // The socket may be of a network that is gone.
    on(globalThis, "online", () => this.reconnect());
    // The server may be local.
    on(globalThis, "offline", () => this.state === "open" || this.#lost({}, 4));
    on(globalThis.document, "visibilitychange", () => {
      // Its timers were late.
      if (document.hidden) return;
      if (this.state === "open") this.#watch();
      if (this.state === "waiting") this.reconnect();
    });
    this.#connect();
  }

  subscribe(topic, { since, ...options } = {}) {
    this.#check();
    if (this.#topics.has(topic)) throw new FeedError({ code: "subscribed", reason: topic });
    const unsubscribe = () => {
      if (this.#topics.get(topic) !== sub) return;
      this.#unsub(topic);
      this.#end(sub, "unsub");
    };
    const sub = {
      ...options, topic, at: since, state: "joining", values: new Map(), members: new Map(), unsubscribe,
    };
    this.#topics.set(topic, sub);
    this.#join(sub);
    return sub;
  }

  async publish(topic, d, { key: k, remove: rm, once, timeout = PATIENCE } = {}) {
    this.#check();
    const id = ++this.#id;
    const command = { pub: topic, d, k, rm, once, id };
    return new Promise((resolve, reject) => {
      const done = (error, ack) => {
        clearTimeout(timer);
        this.#calls.delete(id);
        ack ? resolve(ack) : reject(new FeedError(error));
      };
      const timer = setTimeout(done, timeout, { code: "timeout" });
      this.#calls.set(id, { command, done, sent: this.#send(command) });
    });
  }

  reconnect() {
    this.#check();
    this.#letGo();
    this.#failures = 0;
    this.#connect();
  }

  close(error) {
    if (this.state === "closed") return;
    this.error = error;
    this.#letGo();
    this.#listening.abort();
    this.#set("closed");
    this.#calls.forEach((call) => call.done(error ?? { code: "closed" }));
    this.#topics.forEach((sub) => this.#end(sub, "closed", error));
  }

  #check() {
    if (this.state === "closed") throw this.error ?? new FeedError({ code: "closed" });
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.onstate?.(state);
  }

  async #connect() {
    const attempt = (this.#socket = {});
    this.#timer = setTimeout(() => this.#lost(), PATIENCE);
    this.#set("connecting");
    try {
      const token = await this.#token();
      if (attempt !== this.#socket) return;
      const socket = (this.#socket = new WebSocket(this.#url));
      socket.onopen = () => {
        this.#turn = 0;
        if (token) this.#send({ auth: token });
        this.#topics.forEach((sub) => this.#join(sub));
        this.#calls.forEach((call) => (call.sent = this.#send(call.command)));
      };
      socket.onmessage = ({ data }) => {
        this.#heard = performance.now();
        this.#take(data);
      };
      socket.onclose = (event) => this.#lost(event);
    } catch (error) {
      console.error(error);
      if (attempt === this.#socket) this.#lost();
    }
  }

  #send(command) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  /** 20 at once, then 25 a second. */
  #join(sub, pause = 0) {
    const { topic, at, recent, rate } = sub;
    const id = (sub.id = ++this.#id);
    const join = () => sub.id === id && this.#send({ sub: topic, since: at, recent, rate, id });
    const now = performance.now();
    this.#turn = Math.max(this.#turn + 40, now - 800);
    pause = Math.max(pause, this.#turn - now);
    if (pause > 0) setTimeout(join, pause);
    else join();
  }

  /** The server began by itself. */
  #again(sub) {
    this.#unsub(sub.topic);
    this.#join(sub);
  }

  #unsub(topic) {
    const id = ++this.#id;
    this.#send({ unsub: topic, id }) && this.#leaving.set(id, topic);
  }

  #end(sub, reason, error) {
    this.#topics.delete(sub.topic);
    Object.assign(sub, { id: 0, state: "ended" });
    sub.onend?.(reason, error);
  }

  #take(data) {
    const m = data[0] === "{" ? JSON.parse(data) : {};
    if (m.hello) return this.#greet(m.hello);
    if (m.error || m.ack) return this.#answer(m);
    if (this.state !== "open") return this.close(new FeedError({ code: "protocol", reason: "this is no feed" }));
    const left = [...this.#leaving].find(([, topic]) => topic === m.t);
    const sub = this.#topics.get(m.t);
    if (left) m.end === "unsub" && this.#leaving.delete(left[0]);
    else if (sub && m.end) this.#end(sub, m.end);
    else if (sub) this.#deliver(sub, m);
  }

  #deliver(sub, { t: topic, at, u: user, d, b, sync, snap, set = snap, rm, clear, live, gap, presence }) {
    const change = (set = {}, rm = [], clear = false) => {
      if (clear) sub.values.clear();
      for (const key in set) sub.values.set(key, set[key]);
      for (const key of rm) sub.values.delete(key);
      sub.onchange?.({ set, rm, clear });
    };
    if (sync) {
      if (sync.resumed === null && sub.at) return this.#again(sub);
      // A part of a snapshot has no position.
      if (!sync.resumed) sub.at = sync.snapshot ? undefined : sync.at;
      if (sync.snapshot) change({}, [], true);
      sub.onsync?.(sync);
      if (sync.resumed === false && !sync.snapshot) sub.ongap?.(sync);
    } else if (live !== undefined) {
      sub.at = live;
      if (sub.state === "live") return;
      sub.state = "live";
      sub.onlive?.();
    } else if (set || rm || clear) change(set, rm, clear);
    else if (gap) sub.ongap?.(gap);
    else if (presence) {
      const { list, join = list, leave } = presence;
      // All, or the number alone.
      if (join === list && !leave) sub.members.clear();
      join?.forEach((member) => sub.members.set(member.id, member));
      leave?.forEach((id) => sub.members.delete(id));
      sub.onpresence?.(presence);
    }
    else if (d !== undefined || b !== undefined) {
      sub.at = at;
      const data = b === undefined ? d : Uint8Array.from(atob(b), (c) => c.charCodeAt(0));
      sub.onmessage?.({ topic, data, at, user });
    }
  }

  #greet({ ping, user, expires }) {
    this.#silence = 2000 * ping;
    this.user = user;
    clearTimeout(this.#renewal);
    if (expires && this.#renews) {
      const renew = async () => this.#send({ auth: await this.#token() });
      this.#renewal = setTimeout(() => renew().catch(console.error), Math.min(expires * 900, 2e9));
    }
    if (this.state === "open") return;
    this.#watch();
    this.#set("open");
  }

  #answer({ id, error, ack }) {
    this.#calls.get(id)?.done(error, ack);
    this.#leaving.delete(id);
    this.#topics.forEach((sub) => {
      if (sub.id !== id) return;
      if (error.code === "subscribed") sub.state === "live" || this.#again(sub);
      else if (error.retry_ms) this.#join(sub, error.retry_ms);
      else this.#end(sub, error.code, new FeedError(error));
    });
  }

  /** Waits for two silent pings. */
  #watch() {
    clearTimeout(this.#timer);
    const left = this.#heard + this.#silence - performance.now();
    if (left <= 0) return this.#lost();
    this.#timer = setTimeout(() => {
      // Not before: it may end at once.
      this.#failures = 0;
      this.#watch();
    }, left);
  }

  /** The close of a dead line takes a minute. */
  #letGo() {
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    const socket = this.#socket ?? {};
    socket.onopen = socket.onmessage = socket.onclose = this.#socket = null;
    socket.close?.();
    this.#leaving.clear();
    this.#topics.forEach((sub) => Object.assign(sub, { id: 0, state: "joining" }));
    // With `once` they are sent again.
    this.#calls.forEach(({ sent, command, done }) => sent && !command.once && done({ code: "lost" }));
  }

  #lost({ code, reason } = {}, failures = this.#failures) {
    this.#letGo();
    if (code >= 4400 && code < 4500 && ![4408, 4429, this.#renews && 4401].includes(code)) {
      return this.close(new FeedError({ code, reason }));
    }
    this.#failures = failures + 1;
    const most = Math.min(FIRST_PAUSE * 2 ** failures, LAST_PAUSE);
    const least = failures && most / 2;
    this.#timer = setTimeout(() => this.#connect(), least + Math.random() * (most - least));
    this.#set("waiting");
  }
}
