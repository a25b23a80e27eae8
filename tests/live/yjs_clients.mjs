// Stock clients of Yjs, told what to do by JSON lines on stdin: [verb, client, ...]; each answers with one line.
// The first argument is the folder whose node_modules has yjs and y-websocket.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/package.json`);
const Y = require("yjs");
const { WebsocketProvider } = require("y-websocket");
const WebSocket = require("ws");

const clients = new Map();

const verbs = {
  open(id, url, name) {
    const doc = new Y.Doc();
    const provider = new WebsocketProvider(url, name, doc, { WebSocketPolyfill: WebSocket, disableBc: true });
    const client = { text: doc.getText("text"), provider, opened: 0 };
    provider.on("status", ({ status }) => (client.opened += status === "connected"));
    clients.set(id, client);
  },
  insert: ({ text }, at, words) => text.insert(at < 0 ? text.length : at, words),
  type({ text }, words, pause) {
    const letters = [...words];
    const timer = setInterval(() => {
      if (letters.length) text.insert(text.length, letters.shift());
      else clearInterval(timer);
    }, pause);
  },
  offline: ({ provider }) => provider.disconnect(),
  online: ({ provider }) => provider.connect(),
  say: ({ provider }, state) => provider.awareness.setLocalState(state),
  look: ({ text, provider, opened }) => ({
    text: text.toString(),
    synced: provider.synced,
    opened,
    states: [...provider.awareness.getStates().values()],
  }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, id, ...rest] = JSON.parse(line);
  const answer = verb === "open" ? verbs.open(id, ...rest) : verbs[verb](clients.get(id), ...rest);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
process.exit();
