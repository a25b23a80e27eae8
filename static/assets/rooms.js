import { byId, element, memory, openFeed, randomText } from "./gallery.js";
import { Log, row } from "./log.js";

/** Messages of one person within so many seconds share one head. */
const TOGETHER = 300;
/** Milliseconds; the server forgets who was typing after 4 s. */
const TYPING_AGAIN = 3000;
const HUES = 12;

const room = decodeURIComponent(location.pathname.split("/").pop());
const topic = `rooms/${room}`;
const secret = memory.get("fastws.secret") ?? randomText(24);
memory.set("fastws.secret", secret);

const log = new Log(byId("log"), byId("newer"));
const text = byId("text");
const clock = new Intl.DateTimeFormat([], { timeStyle: "short" });

let name = memory.get("fastws.name") ?? "";
let feed;
let here;
let rules;
let muted;
let typing;
/** Rows of messages, by where they are, for who deletes one. */
const rows = new Map();
/** Who had a name first, as far as this page has seen. */
const first = new Map();
let last = null;
let saidTyping = -Infinity;

byId("room").textContent = room;
document.title = `fastws: ${room}`;
byId("name").value = name;
if (name) join();
else {
  byId("status").textContent = "Not joined";
  byId("status").dataset.state = "idle";
  byId("log").dataset.empty = "Say who you are, and come in.";
  byId("name").focus();
}

// -- coming and going ------------------------------------------------------------------------

byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = byId("name").value.trim();
  if (!wanted) return;
  memory.set("fastws.name", (name = wanted));
  if (feed?.state === "closed") feed = undefined;
  if (feed) feed.reconnect();
  else join();
  talk(true);
  text.focus();
});

byId("rename").addEventListener("click", () => {
  talk(false);
  byId("name").focus();
  byId("name").select();
});

byId("elsewhere").addEventListener("submit", (event) => {
  event.preventDefault();
  const other = byId("other").value.trim().toLowerCase();
  if (/^[a-z0-9-]{1,32}$/.test(other)) location.assign(`/rooms/${other}`);
});

/** Show the field for messages, or that for the name. */
function talk(can) {
  byId("form").hidden = !can;
  byId("join").hidden = can;
  byId("rename").replaceChildren(element("span", "initial", [...name][0]?.toUpperCase()), element("span", "wide", name));
  byId("rename").setAttribute("aria-label", `Change your name, ${name}`);
}

function join() {
  byId("log").dataset.empty = "Nobody has said anything yet.";
  talk(true);
  feed = openFeed("/feeds/rooms", {
    token: () => `${secret} ${name}`,
    onstate(state) {
      hint("");
      if (state !== "closed") return;
      hint(feed.error?.message ?? "You are not here any more.", "over");
      talk(false);
    },
  });
  rules = feed.subscribe(`${topic}/rules`, { onchange: showRules, onlive: showRules, onend: refused });
  muted = feed.subscribe(`${topic}/muted`, { onchange: showMembers });
  typing = feed.subscribe(`${topic}/typing`, { onchange: showTyping });
  here = feed.subscribe(topic, {
    recent: 100,
    onmessage: take,
    onpresence: present,
    ongap: ({ missed }) => append(row("event", missed ? `${missed} messages are missing.` : "Messages are missing.")),
    onend: refused,
  });
}

function refused(reason, error) {
  if (reason !== "closed") append(row("failure", error?.message || "This room is closed."));
}

function hint(words, kind = "") {
  byId("hint").textContent = words;
  byId("hint").className = `notice ${kind}`;
}

// -- people ----------------------------------------------------------------------------------

/** The server calls people by a name that they have chosen, and behind the last # by one that is theirs. */
function nameOf(user) {
  return user.slice(0, user.lastIndexOf("#"));
}

function personOf(user) {
  return user.slice(user.lastIndexOf("#") + 1);
}

function hueOf(user) {
  let sum = 0;
  for (const letter of personOf(user)) sum = (31 * sum + letter.charCodeAt(0)) % 997;
  return `hue-${sum % HUES}`;
}

function isModerator() {
  return Boolean(feed?.user) && rules?.values.get("owner") === personOf(feed.user);
}

function present({ count }) {
  byId("count").textContent = count;
  showMembers();
}

function showMembers() {
  const sorted = [...(here?.members.keys() ?? [])].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  byId("members").replaceChildren(
    ...sorted.map((id) => {
      const item = element("li", hueOf(id));
      item.append(face(id), who(id));
      if (rules?.values.get("owner") === personOf(id)) item.append(element("span", "mark", "moderator"));
      if (muted?.values.has(personOf(id))) item.append(element("span", "mark", "muted"));
      return item;
    }),
  );
}

function face(user) {
  const made = element("span", "face", [...nameOf(user)][0]?.toUpperCase() ?? "?");
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** A name; with what is behind it where another person had it first, or one that looks the same. */
function who(user) {
  const made = element("bdi", "who", nameOf(user));
  const looks = nameOf(user).normalize("NFKD").toLowerCase().replace(/[\s\p{M}]/gu, "");
  if (!first.has(looks)) first.set(looks, personOf(user));
  if (first.size > 5000) first.delete(first.keys().next().value);
  if (first.get(looks) !== personOf(user)) made.append(element("span", "tag", `#${personOf(user).slice(0, 4)}`));
  return made;
}

function showTyping() {
  const names = [...typing.values.keys()].filter((id) => id !== feed.user).map(nameOf);
  if (names.length > 3 || !names.length) {
    byId("typing").textContent = names.length ? "Several people are typing" : "";
    return;
  }
  // However long the names are, one sees what they do; and each is written in its own direction.
  const some = element("span", "some");
  some.append(...names.flatMap((each, index) => [index ? ", " : "", element("bdi", "", each)]));
  byId("typing").replaceChildren(some, element("span", "", `\u00a0${names.length > 1 ? "are" : "is"} typing`));
}

// -- messages --------------------------------------------------------------------------------

function take({ data, at, user }) {
  if (data.delete) return remove(data.delete);
  if (typeof data.text !== "string" || !user) return;
  const head = !last || last.user !== user || data.time - last.time > TOGETHER;
  last = { user, time: data.time };
  const said = element("article", `said ${hueOf(user)}${head ? " first" : ""}${user === feed.user ? " own" : ""}`);
  const time = element("time", "", clock.format(1000 * data.time));
  time.dateTime = new Date(1000 * data.time).toISOString();
  const words = element("p", "words", data.text);
  words.dir = "auto";
  const line = element("p", "head");
  line.append(who(user), time);
  said.append(head ? face(user) : element("span"), line, words, actions(user, at, said));
  rows.set(at, said);
  if (rows.size > 5000) rows.delete(rows.keys().next().value);
  append(said);
}

/** What a moderator may do, in reach of the keyboard; the others do not see it. */
function actions(user, at, said) {
  const made = element("span", "actions");
  const add = (words, label, act) => {
    const button = element("button", "button quiet small", words);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
    made.append(button);
  };
  add("Delete", `Delete this message of ${nameOf(user)}`, () => say({ delete: at }));
  add("Mute", `Mute ${nameOf(user)} for ten minutes`, () => rule("/muted", personOf(user), true));
  return made;
}

function remove(at) {
  const said = rows.get(at);
  if (!said) return;
  said.classList.add("gone");
  said.querySelector(".words").textContent = "deleted by the moderator";
  said.querySelector(".actions").remove();
}

function append(element) {
  log.append(element);
}

text.addEventListener("input", () => {
  if (!text.value || performance.now() - saidTyping < TYPING_AGAIN) return;
  saidTyping = performance.now();
  if (feed.state === "open") feed.publish(`${topic}/typing`, 1, { key: "me" }).catch(() => {});
});

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  if (saidTyping > 0 && feed.state === "open") {
    feed.publish(`${topic}/typing`, undefined, { key: "me", remove: true }).catch(() => {});
  }
  saidTyping = -Infinity;
  if (!(await say({ text: words })) && !text.value) text.value = words;
});

async function say(data) {
  hint("");
  try {
    await feed.publish(topic, data, { once: randomText(12), timeout: 60_000 });
    return true;
  } catch (error) {
    hint(error.code === "timeout" ? "Not sent: no answer." : `Not sent: ${error.message}.`, "over");
    return false;
  }
}

// -- rules -----------------------------------------------------------------------------------

/** Not while a snapshot comes: what is not there yet would seem to be gone. */
function showRules() {
  if (rules.state !== "live") return;
  const moderates = isModerator();
  byId("slow").disabled = !moderates;
  byId("slow").value = String(rules.values.get("slow") ?? 0);
  byId("slow-label").hidden = !moderates && !rules.values.get("slow");
  byId("owner").textContent = moderates ? "You moderate this room." : "";
  byId("log").classList.toggle("moderated", moderates);
  showMembers();
}

byId("slow").addEventListener("change", () => rule("/rules", "slow", Number(byId("slow").value)));

async function rule(part, key, value) {
  try {
    await feed.publish(topic + part, value, { key });
  } catch (error) {
    hint(`Not done: ${error.message}.`, "over");
    showRules();
  }
}

byId("people-toggle").addEventListener("click", (event) => {
  const shown = byId("people").classList.toggle("shown");
  event.currentTarget.setAttribute("aria-expanded", String(shown));
});
