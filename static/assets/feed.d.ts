/**
 * Topics of a fastws feed (the protocol `fastws.feed.v1`) over one WebSocket that comes back by itself.
 *
 * ```js
 * import { Feed } from "/assets/feed.js";
 *
 * const feed = new Feed("/feed");
 * feed.subscribe("rooms/1", { recent: 20, onmessage: ({ data }) => show(data) });
 * ```
 *
 * Each topic goes on where it was: what was published while the page was away comes in order and once, or
 * `ongap` says that it does not come. Handlers are properties, as those of a `WebSocket`: give them to
 * `subscribe`, or set them later. An exception of a handler is reported by the browser and ends nothing.
 */

/** Where a topic was, for `since` on another day. It is opaque: keep it and send it back. */
export type Position = string;

export interface FeedOptions {
  /**
   * Who this page is, for feeds that ask. A function is called for each connection, and before a token ends;
   * it may be async. A token that is text and is refused (4401) closes the feed.
   */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  onstate?: ((state: FeedState) => void) | null;
}

/**
 * - `connecting`: until the server has said hello.
 * - `open`.
 * - `waiting`: for the next attempt to connect. The first is within 2 s; then pauses are random and grow to 30 s.
 * - `closed`: by `close()`, or by a refusal that does not pass: see `error`. It connects no more.
 */
export type FeedState = "connecting" | "open" | "waiting" | "closed";

export class Feed {
  /**
   * Connects.
   *
   * @param url of the feed, relative to the page; `https` is `wss`.
   */
  constructor(url: string | URL, options?: FeedOptions);

  readonly state: FeedState;
  /** Why it is closed; undefined where the page has closed it. */
  readonly error?: FeedError;
  /** What the server calls this user to others. */
  readonly user?: unknown;
  /** Is called after each change of `state`. */
  onstate?: ((state: FeedState) => void) | null;

  /**
   * Listens to a topic until it is unsubscribed; each topic once, and 128 at most by default.
   * Of many topics 20 are asked for at once, and then 25 a second.
   *
   * @throws FeedError `subscribed` for a topic that this feed listens to; what `error` is for a closed feed.
   */
  subscribe<T = any>(topic: string, options?: SubscribeOptions<T>): Subscription<T>;

  /**
   * Publishes, when the feed is open; until then it waits.
   *
   * @param data any value of JSON.
   * @returns where it is, in topics that keep messages; `dup` where the same `once` was published before.
   * Rejects with a FeedError: a word of the server (`forbidden`, `too_fast`, ...), `timeout` without an answer,
   * `closed`, or `lost` where the connection ended and nobody knows whether it was published.
   */
  publish(topic: string, data?: unknown, options?: PublishOptions): Promise<Published>;

  /** Connects anew and at once, also in place of a connection that is open. */
  reconnect(): void;

  /** Closes for good: subscriptions end, and what is published without an answer is rejected. */
  close(): void;
}

export interface SubscribeOptions<T = any> {
  /** Go on behind this position. Later the subscription knows its own. */
  since?: Position;
  /** Without `since`, or where that is not known any more: how many of the last messages come first. Default 0. */
  recent?: number;
  /** At most so many messages a second; then the newest counts. Default: as the server allows. */
  rate?: number;

  /** A message of a topic of messages. */
  onmessage?: ((message: Message<T>) => void) | null;
  /** Values of a keyed topic have changed: `values` has the change already. */
  onchange?: ((change: Change<T>) => void) | null;
  /** Everything up to now is here: after each connection once, `state` is `live`. */
  onlive?: (() => void) | null;
  /** Something was missed and does not come. */
  ongap?: ((gap: Gap) => void) | null;
  /** Where the topic begins, after each connection and before all else. */
  onsync?: ((sync: Sync) => void) | null;
  /** Who is here, where the topic shows it, has changed: `members` has the change already. */
  onpresence?: ((presence: Presence) => void) | null;
  /**
   * Nothing of the topic comes any more.
   *
   * @param reason `unsub`, `revoked`, `expired`, `closed` with the feed, or the code of `error`, such as `forbidden`.
   */
  onend?: ((reason: string, error?: FeedError) => void) | null;
}

export interface Subscription<T = any> extends Omit<SubscribeOptions<T>, "since"> {
  readonly topic: string;
  /** `joining` until all is here that was published before, and without a connection. */
  readonly state: "joining" | "live" | "ended";
  /** Behind the last message. Undefined where nothing is kept, or while a snapshot comes. */
  readonly at?: Position;
  /** Of a keyed topic: what each key holds. It stays the same Map, without a connection with its last values. */
  readonly values: Map<string, T>;
  /** Who is here, by id, where the topic shows it. It stays the same Map. */
  readonly members: Map<string, Member>;
  unsubscribe(): void;
}

export interface Message<T = any> {
  topic: string;
  /** A value of JSON; bytes are a `Uint8Array`. */
  data: T;
  at?: Position;
  /** The author, as the server says. */
  user?: unknown;
}

export interface Change<T = any> {
  /** `values` was emptied first: by the server, or since a snapshot comes. */
  clear: boolean;
  set: Record<string, T>;
  rm: string[];
}

export interface Gap {
  /** How many messages; null where nobody knows. */
  missed: number | null;
  /** While connected `slow`, `sampled`, `bus` or `broker`; after a return `epoch`, `expired`, `future` or `limit`. */
  reason: string;
}

export interface Sync {
  at?: Position | null;
  /** Null: there was no position to go on from. */
  resumed: boolean | null;
  missed: number | null;
  reason: string | null;
  /** All values come anew. */
  snapshot?: boolean;
  lossy?: boolean;
}

export interface Presence {
  /** How many users are here. */
  count: number;
  /** All of them, at first. Without `list`, `join` and `leave` the number alone is told, and `members` is empty. */
  list?: Member[];
  /** Who has come, or has another number of connections, or is shown otherwise. */
  join?: Member[];
  /** The ids of those who have gone. */
  leave?: string[];
}

export interface Member {
  id: string;
  /** How many connections. */
  n: number;
  info?: unknown;
}

export interface PublishOptions {
  /** The key of a keyed topic. */
  key?: string;
  /** Removes the key. */
  remove?: boolean;
  /** An id of this message: with it what got no answer is sent again after a reconnect, and published once. */
  once?: string;
  /** Milliseconds to wait for the answer. Default 15000. */
  timeout?: number;
}

export interface Published {
  at?: Position | null;
  dup?: boolean;
}

export class FeedError extends Error {
  name: "FeedError";
  /** A word of the protocol, or the close code (4400 to 4499) of a refusal. */
  code: string | number;
  /** What the server says about it, which is the message too; may be empty. */
  reason?: string;
  /** Milliseconds after which to try again, where the server says so. */
  retry?: number;
}
