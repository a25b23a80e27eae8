import { Feed } from "./feed.js";

export const byId = (id) => document.getElementById(id);

// A phone has no room for all pages.
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

const WORDS = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", closed: "Closed" };

/** A feed whose state is in the header. `options` are those of `Feed`. */
export function openFeed(path, options = {}) {
  const feed = new Feed(path, {
    ...options,
    onstate(state) {
      showState(state);
      options.onstate?.(state);
    },
  });
  showState(feed.state);
  return feed;
}

function showState(state) {
  const status = byId("status");
  status.dataset.state = state;
  status.textContent = WORDS[state];
}

/** An element with a class and, as text whatever it holds, what it says. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** So many random letters, also on pages that are no secure context. */
export function randomText(length) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}

/** What the browser remembers for this site; where it may not, nothing. */
export const memory = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // Then it is for this visit.
    }
  },
};
