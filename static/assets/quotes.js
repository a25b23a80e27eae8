import { byId, element, openFeed } from "./gallery.js";

const SUM = "#";
/** Milliseconds after which quotes count as old. */
const OLD = 1500;
const ASK_TIME_AGAIN = 60_000;
/** A point of a symbol's line each second, for the last minute. */
const POINTS = 60;
const [WIDTH, HEIGHT] = [96, 24];

/** By symbol: its row, its cells, what they show, and its line. */
const rows = new Map();
/** The same, sorted. */
let order = [];
const board = byId("board");

/** Milliseconds that the server's clock is ahead of ours. */
let ahead = 0;
/** What the last move that is complete said: `{n, at, crc}`. */
let sum;
/** Whether all the values were those of the server, when a move was complete. */
let matches;
let changes = 0;
let subscription;

const feed = openFeed("/feeds/quotes", {
  onstate(state) {
    if (state === "open") askTime();
  },
});
subscribe();
setInterval(() => feed.state === "open" && askTime(), ASK_TIME_AGAIN);

function subscribe() {
  const rate = Number(byId("rate").value) || undefined;
  subscription = feed.subscribe("quotes", { rate, onchange: take });
}

byId("rate").addEventListener("change", () => {
  subscription.unsubscribe();
  subscribe();
});

// -- how old ---------------------------------------------------------------------------------

/** Ask what time it is there, beside the quotes: an answer that waits behind them would be late. */
async function askTime() {
  const asked = Date.now();
  try {
    const answer = await fetch("/quotes/time", { cache: "no-store" });
    const time = Number(await answer.text());
    const now = Date.now();
    // The middle of the way there and back; a slow answer says little.
    if (answer.ok && now - asked < 2000) ahead = time - (asked + now) / 2;
  } catch {
    // As before.
  }
}

function age() {
  return sum ? Math.max(Date.now() + ahead - sum.at, 0) : Infinity;
}

// -- what comes ------------------------------------------------------------------------------

function take({ set, rm, clear }) {
  if (clear) rows.forEach((row) => (row.quote = undefined));
  let last = "";
  const known = rows.size;
  for (const symbol in set) {
    last = symbol;
    if (symbol === SUM) continue;
    changes += 1;
    const row = rows.get(symbol) ?? add(symbol);
    row.quote = set[symbol];
    row.isNew = true;
  }
  if (rows.size > known) arrange();
  // It is the last key of a move: what comes behind it belongs to the next one, and is not whole yet.
  if (last !== SUM) return;
  sum = set[SUM];
  matches = crc32(lines()) === sum.crc;
  draw();
}

/** The text that the server has made its checksum of: each symbol and its quote as JSON, sorted. */
function lines() {
  let text = "";
  for (const { symbol, quote } of order) if (quote) text += `${symbol}${JSON.stringify(quote)}\n`;
  return text;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Of a text that is ASCII. */
function crc32(text) {
  let crc = -1;
  for (let index = 0; index < text.length; index += 1) {
    crc = TABLE[(crc ^ text.charCodeAt(index)) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

// -- the board -------------------------------------------------------------------------------

function add(symbol) {
  const tr = element("tr");
  const name = element("th", "", symbol);
  name.scope = "row";
  const [price, today, volume] = ["number price", "number today", "number volume"].map((kind) => element("td", kind));
  const trend = element("td", "trend");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.append(path);
  trend.append(svg);
  tr.append(name, price, today, volume, trend);
  const row = { symbol, tr, price, today, volume, path, points: [], shown: "" };
  rows.set(symbol, row);
  tr.hidden = !symbol.includes(wanted());
  return row;
}

function arrange() {
  order = [...rows.values()].sort((a, b) => (a.symbol < b.symbol ? -1 : 1));
  byId("rows").append(...order.map((row) => row.tr));
}

let frame = 0;

/** Draw the rows in sight, once a frame. */
function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    inSight().forEach(drawRow);
  });
}

function inSight() {
  const shown = order.filter((row) => !row.tr.hidden);
  const height = shown[0]?.tr.offsetHeight || 1;
  const first = Math.max(Math.floor(board.scrollTop / height) - 2, 0);
  return shown.slice(first, first + Math.ceil(board.clientHeight / height) + 4);
}

function drawRow(row) {
  if (!row.quote || !row.isNew) return;
  row.isNew = false;
  const [price, opening, volume] = row.quote;
  if (price !== row.shown) {
    row.tr.className = row.shown ? (Number(price) > Number(row.shown) ? "up" : "down") : "";
    row.shown = price;
    row.price.textContent = price;
    const change = (100 * (Number(price) - Number(opening))) / Number(opening);
    row.today.textContent = `${change < 0 ? "\u2212" : "+"}${Math.abs(change).toFixed(2)} %`;
    row.today.dataset.way = change < 0 ? "down" : "up";
  }
  row.volume.textContent = grouped(volume);
}

/** A decimal string with its thousands apart: no number is made of it, so none is rounded. */
function grouped(digits) {
  return digits.replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function drawLine({ points, path }) {
  const [least, most] = [Math.min(...points), Math.max(...points)];
  const scale = (HEIGHT - 4) / (most - least || 1);
  const step = WIDTH / (Math.max(points.length, POINTS / 3) - 1);
  path.setAttribute(
    "d",
    points.map((p, n) => `${n ? "L" : "M"}${(n * step).toFixed(1)} ${(HEIGHT - 2 - (p - least) * scale).toFixed(1)}`).join(""),
  );
}

board.addEventListener("scroll", draw, { passive: true });
new ResizeObserver(draw).observe(board);

const wanted = () => byId("find").value.trim().toUpperCase();

byId("find").addEventListener("input", () => {
  const letters = wanted();
  let found = 0;
  rows.forEach((row) => {
    row.tr.hidden = !row.symbol.includes(letters);
    found += !row.tr.hidden;
  });
  byId("none").hidden = found > 0 || !rows.size;
  board.scrollTop = 0;
  draw();
});

// -- the figures -----------------------------------------------------------------------------

let shownState = "";

function showFigures() {
  const old = age();
  const isOld = old > OLD;
  byId("age").textContent = old === Infinity ? "\u2013" : old < 10_000 ? `${(old / 1000).toFixed(2)} s` : `${Math.round(old / 1000)} s`;
  byId("age").dataset.state = sum ? (isOld ? "bad" : "good") : "waiting";
  byId("sum").textContent = sum ? `${matches ? "\u2713" : "\u2717"} ${sum.crc.toString(16).padStart(8, "0")}` : "\u2013";
  byId("sum").dataset.state = sum ? (matches ? "good" : "bad") : "waiting";
  board.classList.toggle("old", isOld);
  // What is worth a word to who only hears the page.
  const state = !sum ? "" : isOld ? "The quotes are old." : matches ? "The quotes are fresh." : "The checksum is wrong.";
  if (state !== shownState) byId("said").textContent = shownState = state;
}

setInterval(showFigures, 100);

setInterval(() => {
  byId("pace").textContent = `${grouped(String(changes))}/s`;
  changes = 0;
  rows.forEach((row) => {
    if (!row.quote) return;
    row.points.push(Number(row.quote[0]));
    if (row.points.length > POINTS) row.points.shift();
  });
  inSight().forEach((row) => row.points.length > 1 && drawLine(row));
}, 1000);
