import { Session, describeClose, textOf } from "./session.js";

const input = document.getElementById("input");
const hint = document.getElementById("hint");
const limit = Number(input.dataset.limit);
const encoder = new TextEncoder();

/**
 * What went out and has not come back. The room sends no names, but it keeps the order: a line that is
 * awaited here is ours, or somebody wrote the very same just then.
 */
let awaited = [];

new Session("/ws", {
  reconnects: true,
  open() {
    awaited = [];
  },
  accepts(text) {
    return sizeOf(text) <= limit;
  },
  sent(session, text) {
    awaited.push(text.trim());
  },
  message(session, data) {
    // The server joins with newlines what waited for us: each line is a message of its own.
    session.showAll(textOf(data).split("\n").map((line) => [isOurs(line) ? "out" : "in", line]));
  },
  close(session, event) {
    session.show("event", "Connection closed.", describeClose(event));
  },
});

function sizeOf(text) {
  return encoder.encode(text).length;
}

function isOurs(line) {
  const index = awaited.indexOf(line);
  awaited.splice(0, index + 1);
  return index >= 0;
}

input.addEventListener("input", () => {
  const size = sizeOf(input.value);
  hint.hidden = size <= limit * 0.8;
  hint.classList.toggle("over", size > limit);
  hint.textContent =
    size > limit
      ? `${size} bytes: too long to send, the server takes ${limit}.`
      : `${size} of ${limit} bytes`;
});
