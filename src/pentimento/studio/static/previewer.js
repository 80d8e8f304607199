// Asks for the painted face while a person works. Only the newest request counts: the server drops
// what it has not begun, and an answer that is older than the one shown is not shown.

import * as api from "./api.js";

const RESTING = 700; // ms without a change before the finer preview is asked for
const SPACING = 120; // ms between requests during one stroke
const LOOK = 40; // ms until it is looked again whether the request under way has come back

export class Previewer extends EventTarget {
  #asked = 0;
  #shown = 0;
  #flying = 0;
  #last = 0;
  #timer = 0;
  #next = 0;

  constructor(sheet) {
    super();
    this.sheet = sheet;
  }

  /** Ask while something is still moving: one request is under way at most, the newest comes next. */
  hurry(commands) {
    clearTimeout(this.#next);
    const rest = SPACING - (performance.now() - this.#last);
    if (this.#flying || rest > 0) {
      this.#next = setTimeout(() => this.hurry(commands), Math.max(rest, LOOK));
    } else {
      this.#request(commands, "live");
    }
  }

  /** Ask for what is there now, and for a finer picture once it is shown and the person rests. */
  async ask(commands) {
    clearTimeout(this.#next);
    clearTimeout(this.#timer);
    await this.#request(commands, "quick");
    const newest = this.#asked;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (newest === this.#asked) this.#request(commands, "fine");
    }, RESTING);
  }

  stop() {
    clearTimeout(this.#next);
    clearTimeout(this.#timer);
    this.#shown = Infinity;
  }

  async #request(commands, kind) {
    const number = ++this.#asked;
    const start = performance.now();
    this.#last = start;
    this.#flying++;
    try {
      const draft = await this.sheet.draft(commands);
      const { facts, data } = await api.preview(this.sheet.id, draft, kind === "fine");
      if (number < this.#shown) return;
      this.#shown = number;
      const picture = new ImageData(data, facts.side);
      this.dispatchEvent(new CustomEvent("picture", { detail: { picture, start, kind } }));
    } catch (error) {
      if (error.status !== 409) {
        this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
      }
    } finally {
      this.#flying--;
    }
  }
}
