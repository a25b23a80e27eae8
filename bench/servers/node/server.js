// The rival `ws` on node: echo at /wsecho, broadcast to all at /broadcast.
// Arguments: PORT [CERTFILE KEYFILE]
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";

const [port, cert, key] = process.argv.slice(2);
const server = cert
  ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : http.createServer();
const wss = new WebSocketServer({ noServer: true, maxPayload: 16 * 1024 * 1024, perMessageDeflate: true });
const room = new Set();

function echo(ws) {
  ws.on("message", (data, binary) => ws.send(data, { binary }));
}

function broadcast(ws) {
  room.add(ws);
  ws.on("close", () => room.delete(ws));
  ws.on("message", (data, binary) => {
    for (const peer of room) peer.send(data, { binary });
  });
}

server.on("upgrade", (request, socket, head) => {
  wss.handleUpgrade(request, socket, head, (ws) => {
    ws.on("error", () => {});
    (request.url === "/wsecho" ? echo : broadcast)(ws);
  });
});
server.listen(Number(port), "127.0.0.1", () => console.log(`ready ${port}`));
