import { byId, element, memory, openFeed } from "./gallery.js";
import { startPicture } from "./picture.js";

/** Seconds that a comment takes to cross the picture: less where that is narrow. */
const [LEAST, MOST, PIXELS_PER_SECOND] = [4, 7.5, 130];
const LANE_HEIGHT = 31;
const GAP = 20;
const COLOURS = ["white", "yellow", "green", "blue", "pink", "orange"];
const MOST_WORDS = 100;
/** The share is of so many seconds. */
const WINDOW = 5;

const lanes = byId("lanes");
const text = byId("text");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const picture = startPicture(byId("picture"));

/** When each lane takes another comment, and when its last one has left. */
let free = [];
let paused = false;
let colour = Number(memory.get("fastws.colour")) || 0;
/** What came, was not shown, and was left out, in each of the last seconds. */
let seconds = [{ shown: 0, left: 0 }];

const feed = openFeed("/feeds/bullets");
feed.subscribe("bullets", {
  onmessage({ data, user }) {
    if (typeof data.story === "string") byId("story").textContent = data.story;
    else if (typeof data.text === "string") show(data, user === feed.user);
  },
  ongap({ missed }) {
    seconds[0].left += missed ?? 0;
  },
});

// -- comments --------------------------------------------------------------------------------

function show({ text: words, colour }, own) {
  listed(words, own);
  const flies = !paused && !document.hidden && !still.matches && fly(words, colour, own);
  seconds[0][flies || byId("listed").checked ? "shown" : "left"] += 1;
}

/** Let a comment cross the picture where a lane has room; one's own waits for that. */
function fly(words, colour, own) {
  const comment = element("span", `bullet ${COLOURS[colour] ?? COLOURS[0]}${own ? " own" : ""}`, words);
  comment.dir = "auto";
  lanes.append(comment);
  const width = comment.offsetWidth;
  const across = lanes.clientWidth;
  const now = performance.now() / 1000;
  const crossing = Math.min(Math.max(across / PIXELS_PER_SECOND, LEAST), MOST);
  const speed = (across + width) / crossing;
  const count = Math.max(Math.floor(lanes.clientHeight / LANE_HEIGHT), 1);
  free.length = count;
  // Of each lane, how long until the one before has come in as a whole, and leaves before this one is there.
  const waits = Array.from({ length: count }, (_, index) => {
    const { tail = 0, end = 0 } = free[index] ?? {};
    return Math.max(tail - now, end - now - across / speed, 0);
  });
  const delay = Math.min(...waits);
  const lane = waits.indexOf(delay);
  if (delay > 0 && !own) {
    comment.remove();
    return false;
  }
  free[lane] = { tail: now + delay + (width + GAP) / speed, end: now + delay + crossing };
  comment.style.top = `${lane * LANE_HEIGHT}px`;
  const flight = comment.animate(
    [{ transform: `translateX(${across}px)` }, { transform: `translateX(${-width}px)` }],
    { delay: 1000 * delay, duration: 1000 * crossing, fill: "backwards" },
  );
  flight.onfinish = () => comment.remove();
  return true;
}

function listed(words, own) {
  const list = byId("words");
  if (list.hidden) return;
  const item = element("li", own ? "own" : "", words);
  item.dir = "auto";
  list.prepend(item);
  if (list.childElementCount > MOST_WORDS) list.lastElementChild.remove();
}

byId("listed").addEventListener("change", ({ target }) => {
  byId("words").hidden = !target.checked;
  byId("words").replaceChildren();
});

byId("pause").addEventListener("click", () => pause(!paused));

function pause(does) {
  paused = does;
  byId("pause").setAttribute("aria-pressed", String(paused));
  picture.pause(paused);
  for (const each of lanes.getAnimations({ subtree: true })) paused ? each.pause() : each.play();
  free = [];
}

if (still.matches) {
  pause(true);
  byId("listed").checked = true;
  byId("words").hidden = false;
}

// -- one's own -------------------------------------------------------------------------------

COLOURS.forEach((name, index) => {
  const label = element("label", `colour ${name}`);
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: "colour", value: index, checked: index === colour });
  radio.setAttribute("aria-label", name);
  radio.addEventListener("change", () => memory.set("fastws.colour", (colour = index)));
  label.append(radio);
  byId("colours").append(label);
});

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  byId("hint").textContent = "";
  try {
    await feed.publish("bullets", { text: words, colour });
  } catch (error) {
    byId("hint").textContent = `Not sent: ${error.message}.`;
    if (!text.value) text.value = words;
  }
});

// -- the figures -----------------------------------------------------------------------------

setInterval(() => {
  const shown = seconds.reduce((sum, each) => sum + each.shown, 0);
  const all = shown + seconds.reduce((sum, each) => sum + each.left, 0);
  const share = (100 * shown) / all;
  byId("share").textContent = all ? `${share < 10 ? share.toFixed(1) : Math.round(share)} %` : "\u2013";
  byId("rate").textContent = `${Math.round(all / seconds.length)}/s`;
  seconds = [{ shown: 0, left: 0 }, ...seconds].slice(0, WINDOW);
}, 1000);
