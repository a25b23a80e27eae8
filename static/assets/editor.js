import { carets } from "./carets.js";
import { byId, element, memory } from "./gallery.js";
import { address, describeClose } from "./session.js";

/** Milliseconds of the longest pause before connecting again; a random one, so that not all come at once. */
const LAST_PAUSE = 10_000 * (0.5 + Math.random());
/** So many people have a mark of their own; the others are a number. */
const MOST_SHOWN = 30;
/** So many colours there are for them, in the style sheet. */
const COLOURS = 8;

const status = byId("status");
const reconnect = byId("reconnect");

/** As it stands in the address, percent-encoded. */
const name = location.pathname.split("/").pop();

start();

async function start() {
  byId("name").textContent = decodeURIComponent(name);
  document.title = `fastws: ${decodeURIComponent(name)}`;
  // Where it was not built the module is empty. Another server may have none.
  const vendor = await import("/vendor/editor.js").catch(() => ({}));
  if (!vendor.Doc) {
    show("closed", "Not built");
    byId("missing").hidden = false;
    byId("text").hidden = true;
    return;
  }
  const doc = new vendor.Doc();
  const provider = new vendor.WebsocketProvider(address("/editor"), name, doc, {
    disableBc: true,
    maxBackoffTime: LAST_PAUSE,
    // After these codes it would say the same again, and be closed again. 1009: a message is too large.
    shouldReconnect: ({ code }) => code !== 1009 && !(code >= 4400 && code < 4500),
  });
  follow(provider);
  introduce(provider.awareness);
  open(vendor, doc.getText("text"), provider.awareness);
}

function show(state, text) {
  status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
}

/** What others say is shown as text, and not all of it. */
function nameOf(state) {
  const said = state?.user?.name;
  return (typeof said === "string" && said.trim().slice(0, 24)) || "Guest";
}

/** The state of the connection, in the header. */
function follow(provider) {
  let wasThere = false;
  provider.on("sync", (isSynced) => {
    if (isSynced) show("open", "Connected");
    wasThere ||= isSynced;
  });
  provider.on("status", ({ status }) => {
    if (status !== "connected") show(wasThere ? "waiting" : "connecting", wasThere ? "Reconnecting" : "Connecting");
  });
  // The server says that there is no use in coming back: what was typed since stays on this page.
  provider.on("closed", (event) => {
    show("closed", "Closed");
    byId("hint").textContent = `The server has closed this document: ${describeClose(event)}.`;
    reconnect.hidden = false;
  });
  reconnect.addEventListener("click", () => {
    reconnect.hidden = true;
    byId("hint").textContent = "";
    provider.connect();
  });
}

/** The colour of somebody, which is one of ours: that which they say, or one by their number. */
function colourOf(client, state) {
  const said = state?.user?.colour;
  return Number.isInteger(said) && said >= 0 && said < COLOURS ? said : client % COLOURS;
}

/** Who one is, and who else is here. */
function introduce(awareness) {
  const me = byId("me");
  me.value = memory.get("fastws.name") || `Guest ${awareness.clientID % 1000}`;
  let colour = awareness.clientID % COLOURS;
  const say = () => awareness.setLocalStateField("user", { name: me.value, colour });
  // Of two with the same colour the one with the larger number takes another, as long as there is one.
  const differ = () => {
    const others = [...awareness.getStates()].filter(([client]) => client !== awareness.clientID);
    const isTaken = (one, most = Infinity) =>
      others.some(([client, state]) => client < most && colourOf(client, state) === one);
    if (!isTaken(colour, awareness.clientID)) return;
    const free = [...Array(COLOURS).keys()].filter((one) => !isTaken(one));
    if (free.length) {
      colour = free[awareness.clientID % free.length];
      say();
    }
  };
  me.addEventListener("input", () => {
    memory.set("fastws.name", me.value);
    say();
  });
  awareness.on("change", () => {
    differ();
    list(awareness);
  });
  say();
}

function list(awareness) {
  const states = [...awareness.getStates()].sort(([one], [other]) => one - other);
  const items = states.slice(0, MOST_SHOWN).map(([client, state]) => {
    const name = client === awareness.clientID ? "You" : nameOf(state);
    return element("li", `who-${colourOf(client, state)}`, name);
  });
  if (states.length > MOST_SHOWN) items.push(element("li", "who-4", `and ${states.length - MOST_SHOWN} more`));
  byId("people").replaceChildren(...items);
}

function open(vendor, text, awareness) {
  const { EditorState, EditorView, defaultKeymap, drawSelection, keymap, placeholder } = vendor;
  // In a root of its own: the styles that CodeMirror makes are allowed there, and nowhere else on this page.
  const root = byId("text").attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text.toString(),
      extensions: [
        keymap.of([...vendor.yUndoManagerKeymap, ...defaultKeymap]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Text of the document" }),
        drawSelection(),
        placeholder("Nobody has written anything yet."),
        vendor.yCollab(text, null),
        carets(vendor, text, awareness, nameOf, colourOf),
        theme(EditorView),
      ],
    }),
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    view.focus();
  });
}

function theme(EditorView) {
  return EditorView.theme({
    "&": { flex: "1", minWidth: "0", height: "100%", borderRadius: "inherit" },
    "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
    ".cm-scroller": { fontFamily: "var(--sans)", lineHeight: "1.6", overflow: "auto" },
    ".cm-content": { padding: "1rem 0", caretColor: "var(--text)" },
    ".cm-line": { padding: "0 1.25rem" },
    ".cm-placeholder": { color: "var(--quiet)" },
    ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--text)" },
    "& .cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
      background: "var(--accent-soft)",
    },
  });
}
