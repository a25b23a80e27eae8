/** Rows kept on the page; the oldest go first. A room in full swing would fill the memory otherwise. */
const MOST_ROWS = 5000;

/** Pixels from the end that still count as the end: zoomed pages scroll by fractions. */
const NEAR = 4;

/**
 * A scrolling list that follows its end only while the reader is there.
 *
 * `view` is the element that scrolls and holds the rows; `newer` is the button that appears when
 * rows arrive out of sight and that leads to them.
 */
export class Log {
  #view;
  #newer;
  #following = true;

  constructor(view, newer) {
    this.#view = view;
    this.#newer = newer;
    view.addEventListener("scroll", () => {
      this.#following = this.atEnd;
      if (this.#following) newer.hidden = true;
    });
    newer.addEventListener("click", () => {
      this.#toEnd();
      view.focus({ preventScroll: true });
    });
    // A phone's keyboard makes the view shorter without a scroll event.
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(view);
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#view;
    return scrollHeight - scrollTop - clientHeight <= NEAR;
  }

  append(...rows) {
    const follow = this.atEnd;
    this.#view.append(...rows);
    while (this.#view.childElementCount > MOST_ROWS) this.#view.firstElementChild.remove();
    if (follow) this.#toEnd();
    else this.#newer.hidden = false;
  }

  #toEnd() {
    this.#view.scrollTop = this.#view.scrollHeight;
    this.#newer.hidden = true;
  }
}

const clock = new Intl.DateTimeFormat([], { timeStyle: "short" });

/**
 * A row of `kind`, a class of style.css: "out", "in", "event" or "failure".
 *
 * `text` is shown as text, whatever it holds, and is all the text that the row has: the time and
 * the `note` are drawn beside it by the style sheet.
 */
export function row(kind, text, note = "") {
  const element = document.createElement("div");
  const words = document.createElement("span");
  element.className = `line ${kind}`;
  element.dataset.aside = note ? `${clock.format()} \u00b7 ${note}` : clock.format();
  words.className = "text";
  words.dir = "auto";
  words.textContent = text;
  element.append(words);
  return element;
}
