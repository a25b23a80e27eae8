import { Session, describeClose, textOf } from "./session.js";

/** When each message left that has not come back yet: an echo keeps the order. */
let sentAt = [];

const session = new Session("/wsecho", {
  open(session) {
    sentAt = [];
    session.show("event", `Connected to ${session.url}`);
    session.send("Hello Server!");
  },
  sent(session, text) {
    sentAt.push(performance.now());
    session.show("out", text);
  },
  message(session, data) {
    const sent = sentAt.shift();
    session.show("in", textOf(data), sent === undefined ? "" : `${(performance.now() - sent).toFixed(1)} ms`);
  },
  error(session) {
    session.show("failure", `Error: the connection to ${session.url} failed.`);
  },
  close(session, event) {
    session.show("event", "Connection closed.", describeClose(event));
  },
});

document.getElementById("address").textContent = session.url;
