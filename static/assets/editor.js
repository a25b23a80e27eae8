import { address, describeClose } from "./session.js";
import { carets } from "./carets.js";

/** Milliseconds of the longest pause before connecting again; a random one, so that not all come at once. */
const LAST_PAUSE = 10_000 * (0.5 + Math.random());

const byId = (id) => document.getElementById(id);
const status = byId("status");
const reconnect = byId("reconnect");
const me = byId("me");
const people = byId("people");

/** As it stands in the address, percent-encoded. */
const name = location.pathname.split("/").pop();

function show(state, text) {
  status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
}

/** What others say is shown as text, and not all of it. */
export function nameOf(state) {
  const said = state?.user?.name;
  return (typeof said === "string" && said.trim().slice(0, 40)) || "Guest";
}

async function start() {
  byId("name").textContent = document.title = decodeURIComponent(name);
  if (byId("missing")) {
    show("closed", "Not built");
    byId("text").hidden = true;
    return;
  }
  const vendor = await import("/vendor/editor.js");
  const { Doc, WebsocketProvider } = vendor;
  const doc = new Doc();
  const provider = new WebsocketProvider(address("/editor"), name, doc, {
    disableBc: true,
    maxBackoffTime: LAST_PAUSE,
  });
  follow(provider);
  introduce(provider.awareness);
  open(vendor, doc.getText("text"), provider.awareness);
}

/** The state of the connection, in the header. */
function follow(provider) {
  let wasThere = false;
  provider.on("sync", (isSynced) => {
    if (isSynced) show("open", "Connected");
    wasThere ||= isSynced;
  });
  provider.on("status", ({ status }) => {
    if (status === "disconnected" || (status === "connecting" && wasThere)) show("connecting", "Reconnecting");
  });
  // The server says that there is no use in coming back: what was typed since stays on this page only.
  provider.on("closed", (event) => {
    show("closed", `Closed: ${describeClose(event)}`);
    reconnect.hidden = false;
  });
  reconnect.addEventListener("click", () => {
    reconnect.hidden = true;
    show("connecting", "Connecting");
    provider.connect();
  });
}

/** Who one is, and who else is here. */
function introduce(awareness) {
  me.value = localStorage.getItem("name") || `Guest ${awareness.clientID % 1000}`;
  const say = () => awareness.setLocalStateField("user", { name: me.value });
  me.addEventListener("input", () => {
    localStorage.setItem("name", me.value);
    say();
  });
  say();
  const list = () => {
    const states = [...awareness.getStates()].sort(([one], [other]) => one - other);
    people.replaceChildren(
      ...states.map(([client, state]) => {
        const item = document.createElement("li");
        item.className = `who-${client % 8}`;
        item.textContent = nameOf(state) + (client === awareness.clientID ? " (you)" : "");
        return item;
      }),
    );
  };
  awareness.on("change", list);
  list();
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
        carets(vendor, text, awareness, nameOf),
        theme(EditorView),
      ],
    }),
  });
  byId("text").addEventListener("focus", () => view.focus());
  document.querySelector(".skip").addEventListener("click", () => view.focus());
}

function theme(EditorView) {
  return EditorView.theme({
    "&": { flex: "1", minWidth: "0", height: "100%" },
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

start().catch((error) => show("closed", String(error.message)));
