/** Milliseconds between two times at which this page says where its own cursor is. */
const PAUSE = 100;

/**
 * Where others are in the text: an extension for CodeMirror. What they say may be anything: a place that is none
 * is not shown, a name is shown as text, and a colour is one of ours.
 */
export function carets(vendor, text, awareness, nameOf, colourOf) {
  const { Annotation, Decoration, EditorView, ViewPlugin, WidgetType } = vendor;
  const moved = Annotation.define();

  class Caret extends WidgetType {
    constructor(client, name, colour) {
      super();
      this.client = client;
      this.name = name;
      this.colour = colour;
    }

    eq(other) {
      return other.client === this.client && other.name === this.name && other.colour === this.colour;
    }

    toDOM() {
      const caret = document.createElement("span");
      const label = document.createElement("span");
      caret.className = `caret who-${this.colour}`;
      caret.setAttribute("aria-hidden", "true");
      label.className = "caret-name";
      label.textContent = this.name;
      caret.append(label);
      return caret;
    }
  }

  function place(position) {
    try {
      const found = vendor.createAbsolutePositionFromRelativePosition(position, text.doc);
      return found?.type === text ? Math.min(found.index, text.length) : null;
    } catch {
      return null;
    }
  }

  function decorations() {
    const found = [];
    for (const [client, state] of awareness.getStates()) {
      if (client === awareness.clientID || !state?.cursor) continue;
      const [anchor, head] = [place(state.cursor.anchor), place(state.cursor.head)];
      if (anchor === null || head === null) continue;
      const [from, to] = [Math.min(anchor, head), Math.max(anchor, head)];
      const colour = colourOf(client, state);
      if (from < to) found.push(Decoration.mark({ class: `selected who-${colour}` }).range(from, to));
      found.push(Decoration.widget({ widget: new Caret(client, nameOf(state), colour), side: 1 }).range(head));
    }
    return Decoration.set(found, true);
  }

  const plugin = ViewPlugin.fromClass(
    class {
      #view;
      #timer = 0;
      #frame = 0;
      #said = "";

      constructor(view) {
        this.#view = view;
        this.decorations = Decoration.none;
        awareness.on("change", this.#changed);
      }

      #changed = ({ added, updated, removed }) => {
        const others = [...added, ...updated, ...removed].some((client) => client !== awareness.clientID);
        if (others && !this.#frame) {
          this.#frame = requestAnimationFrame(() => {
            this.#frame = 0;
            this.#view.dispatch({ annotations: moved.of(true) });
          });
        }
      };

      update(update) {
        if (update.docChanged) this.decorations = this.decorations.map(update.changes);
        if (update.transactions.some((each) => each.annotation(moved))) this.decorations = decorations();
        if (update.docChanged || update.selectionSet || update.focusChanged) {
          this.#timer ||= setTimeout(() => this.#say(), PAUSE);
        }
      }

      #say() {
        this.#timer = 0;
        const { anchor, head } = this.#view.state.selection.main;
        const at = (index) => vendor.createRelativePositionFromTypeIndex(text, index);
        const cursor = this.#view.hasFocus ? { anchor: at(anchor), head: at(head) } : null;
        const said = JSON.stringify(cursor);
        if (said !== this.#said) {
          this.#said = said;
          awareness.setLocalStateField("cursor", cursor);
        }
      }

      destroy() {
        clearTimeout(this.#timer);
        cancelAnimationFrame(this.#frame);
        awareness.off("change", this.#changed);
      }
    },
    { decorations: (value) => value.decorations },
  );

  // Our style sheet does not reach into the editor's root; its variables do.
  const colours = ["#b42318", "#9a4a00", "#5c6b00", "#15703d", "#0f6a76", "#1d5fc4", "#6a46c9", "#a8328f"];
  const theme = EditorView.theme({
    ...Object.fromEntries(colours.map((colour, index) => [`.who-${index}`, { "--who": colour }])),
    ".selected": { background: "color-mix(in srgb, var(--who) 25%, transparent)" },
    ".caret": {
      position: "relative",
      marginLeft: "-1px",
      marginRight: "-1px",
      borderLeft: "2px solid color-mix(in srgb, var(--who) 65%, var(--text))",
    },
    ".caret-name": {
      position: "absolute",
      top: "-1.25em",
      left: "-2px",
      maxWidth: "8rem",
      overflow: "hidden",
      textOverflow: "ellipsis",
      padding: "0 0.3em",
      borderRadius: "0.3em 0.3em 0.3em 0",
      background: "var(--who)",
      color: "#ffffff",
      fontSize: "0.6875rem",
      lineHeight: "1.35",
      whiteSpace: "nowrap",
      pointerEvents: "none",
    },
  });
  return [plugin, theme];
}
