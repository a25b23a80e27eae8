// An echo server of `ws`; a text "close CODE REASON" makes it close. Arguments: [CERTFILE KEYFILE].
"use strict";
const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [cert, key] = process.argv.slice(2);
const server = cert
  ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : http.createServer();
const wss = new WebSocketServer({
  server,
  perMessageDeflate: { threshold: 1024 },
  handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});

wss.on("connection", (ws) => {
  ws.on("error", () => {});
  ws.on("close", (code) => console.log(`closed ${code}`));
  ws.on("message", (data, binary) => {
    const told = binary ? null : /^close (\d+) (.*)$/.exec(data.toString());
    if (told) ws.close(Number(told[1]), told[2]);
    else ws.send(data, { binary });
  });
});

server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
process.stdin.resume().on("end", () => process.exit());
