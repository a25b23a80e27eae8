import { Log, row } from "./log.js";

const UNSUPPORTED = "Your browser does not support WebSockets.";

/** RFC 6455, section 7.4.1, for people. */
const CLOSE_CODES = {
  1000: "normal closure",
  1001: "the server is going away",
  1002: "protocol error",
  1003: "unsupported data",
  1005: "no reason given",
  1006: "the connection was lost",
  1007: "invalid text",
  1008: "policy violation",
  1009: "message too big",
  1011: "internal error",
  1012: "the server restarts",
  1013: "try again later",
};

/** Milliseconds of the longest first pause before connecting again; it doubles up to the last one. */
const FIRST_PAUSE = 1000;
const LAST_PAUSE = 30_000;

/** A random part of a pause that grows: the clients of a server that has ended do not come back all at once. */
function pauseBefore(attempt) {
  const longest = Math.min(FIRST_PAUSE * 2 ** attempt, LAST_PAUSE);
  return longest * (0.5 + Math.random() / 2);
}

const byId = (id) => document.getElementById(id);

/** The WebSocket address of `path` at the host that this page came from, encrypted if the page was. */
export function address(path) {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
}

export function describeClose({ code, reason }) {
  const words = reason || CLOSE_CODES[code];
  return words ? `${code} ${words}` : `${code}`;
}

/**
 * One page's conversation: a socket, the log, the form, the state in the header.
 *
 * `on.open(session)`, `on.message(session, data)`, `on.sent(session, text)`, `on.error(session)` and
 * `on.close(session, event)` are the page's part of it; each may be left out. `on.accepts(text)` is asked
 * before what was written is sent: with false it stays in the field. With `on.reconnects` the session connects
 * again by itself; `on.close` is told of an open connection that ends and of a first attempt that fails, and not
 * of the attempts that follow.
 */
export class Session {
  #url;
  #on;
  #socket = null;
  #log = new Log(byId("log"), byId("newer"));
  #input = byId("input");
  #send = byId("send");
  #reconnect = byId("reconnect");
  #attempt = 0;
  #timer = 0;

  constructor(path, on) {
    this.#url = address(path);
    this.#on = on;
    if (!("WebSocket" in window)) {
      this.#state("closed", "Unsupported");
      this.show("failure", UNSUPPORTED);
      return;
    }
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#reconnect.addEventListener("click", () => this.#connect());
    this.#connect();
  }

  get url() {
    return this.#url;
  }

  show(kind, text, note) {
    this.#log.append(row(kind, text, note));
  }

  /** Many `[kind, text]` at once: one layout of the page, however many. */
  showAll(rows) {
    this.#log.append(...rows.map(([kind, text]) => row(kind, text)));
  }

  send(text) {
    this.#socket.send(text);
    this.#on.sent?.(this, text);
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#state("connecting", "Connecting");
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      // A page opened from a file has no host to connect to.
      this.#state("closed", "Closed");
      this.show("failure", String(error.message));
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    let openedAt = Infinity;
    socket.onopen = () => {
      openedAt = performance.now();
      this.#state("open", "Connected");
      this.#on.open?.(this);
    };
    socket.onmessage = ({ data }) => this.#on.message?.(this, data);
    socket.onerror = () => this.#on.error?.(this);
    socket.onclose = (event) => {
      this.#state("closed", "Closed");
      if (!this.#on.reconnects) {
        this.#on.close?.(this, event);
        return;
      }
      // A server that closes at once what it has opened is asked no more often than one that is not there.
      if (performance.now() - openedAt > LAST_PAUSE) this.#attempt = 0;
      if (openedAt < Infinity || this.#attempt === 0) this.#on.close?.(this, event);
      this.#timer = setTimeout(() => this.#connect(), pauseBefore(this.#attempt));
      this.#attempt += 1;
    };
  }

  #submit() {
    if (!this.#input.value || this.#socket?.readyState !== WebSocket.OPEN) return;
    if (this.#on.accepts?.(this.#input.value) === false) return;
    this.send(this.#input.value);
    this.#input.value = "";
    this.#input.dispatchEvent(new Event("input"));
  }

  #state(state, text) {
    const status = byId("status");
    status.dataset.state = state;
    status.textContent = text;
    const hadFocus = document.activeElement === this.#reconnect;
    this.#send.disabled = state !== "open";
    this.#send.hidden = state === "closed";
    this.#reconnect.hidden = state !== "closed" || !("WebSocket" in window);
    if (hadFocus) this.#input.focus();
  }
}

/** What a message holds, as text for the log. */
export function textOf(data) {
  if (typeof data === "string") return data;
  const bytes = new Uint8Array(data);
  const hex = Array.from(bytes.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${bytes.length} bytes: ${hex}${bytes.length > 32 ? " ..." : ""}`;
}
