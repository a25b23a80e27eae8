// WebSocket clients of `ws`, told what to do by JSON lines on stdin; what happens to them goes to stdout.
// A message is {"text": ...} or {"base64": ...}.
"use strict";
const readline = require("node:readline");
const WebSocket = require("ws");

const clients = new Map();

function say(conn, event, rest) {
  process.stdout.write(JSON.stringify({ conn, event, ...rest }) + "\n");
}

function payload(message) {
  return message.text !== undefined ? message.text : Buffer.from(message.base64, "base64");
}

const verbs = {
  open({ conn, url, protocols, options }) {
    const ws = new WebSocket(url, protocols, options);
    clients.set(conn, ws);
    ws.on("open", () => say(conn, "open", { protocol: ws.protocol, extensions: ws.extensions }));
    ws.on("message", (data, binary) =>
      say(conn, "message", binary ? { base64: data.toString("base64") } : { text: data.toString() }),
    );
    ws.on("ping", (data) => say(conn, "ping", { base64: data.toString("base64") }));
    ws.on("pong", (data) => say(conn, "pong", { base64: data.toString("base64") }));
    ws.on("close", (code, reason) => say(conn, "close", { code, reason: reason.toString() }));
    ws.on("error", (error) => say(conn, "error", { text: error.message }));
    ws.on("unexpected-response", (request, response) => {
      say(conn, "refused", { status: response.statusCode, headers: response.headers });
      request.destroy();
    });
  },
  send: (ws, { message, fin, compress }) =>
    ws.send(payload(message), { binary: message.text === undefined, fin, compress }),
  ping: (ws, { base64 }) => ws.ping(Buffer.from(base64, "base64")),
  close: (ws, { code, reason }) => ws.close(code, reason),
  raw: (ws, { base64 }) => ws._socket.write(Buffer.from(base64, "base64")),
  terminate: (ws) => ws.terminate(),
  pause: (ws) => ws.pause(),
  resume: (ws) => ws.resume(),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.verb === "open") verbs.open(command);
  else verbs[command.verb](clients.get(command.conn), command);
}).on("close", () => process.exit());
