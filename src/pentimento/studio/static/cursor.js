// A pointer for the keyboard: arrow keys move it over the photo, the space bar is its button.

import { find } from "./element.js";

const STEP = 4; // px on the screen; the photo zoomed in makes finer steps
const LEAP = 24;
const RIM = 24; // px of the screen that the pointer keeps from its border
const PAUSE = 200; // ms of rest before a place is spoken: not every step on the way is

const DRAWS = ["brush", "eraser", "lasso"]; // the others act with one press

export class Cursor {
  constructor(desk) {
    this.desk = desk;
    this.at = null;
    this.pressed = false;
    desk.addEventListener("tool", () => (this.pressed = false));
  }

  /** Move by steps; the first one puts the pointer into the middle of what is seen. */
  move(dx, dy, leaps) {
    const { desk } = this;
    const { viewport } = desk.stage;
    const { width, height } = viewport.screen;
    if (!this.at) {
      this.at = { x: width / 2, y: height / 2 };
    } else {
      const step = leaps ? LEAP : STEP;
      const [x, y] = [this.at.x + dx * step, this.at.y + dy * step];
      this.at = {
        x: Math.min(width - RIM, Math.max(RIM, x)), y: Math.min(height - RIM, Math.max(RIM, y)),
      };
      viewport.pan(this.at.x - x, this.at.y - y);
    }
    desk.pointer = this.at;
    if (this.pressed || desk.name === "polygon") desk.tool.move?.(desk.inFrame(this.at), EVENT);
    desk.stage.draw();
    this.#speakSoon();
  }

  /** The space bar: lower the brush or lift it again; other tools act at once. */
  press() {
    const { desk } = this;
    const name = desk.name[0].toUpperCase() + desk.name.slice(1);
    if (!this.pressed) desk.tool.down?.(desk.inFrame(this.at), EVENT);
    this.pressed = !this.pressed && DRAWS.includes(desk.name);
    if (!this.pressed) desk.tool.up?.();
    this.#speak(this.pressed ? `${name} down, ${this.#laid()}` : `${name} up`);
  }

  /** A pointer took over, another tool was taken, or Escape was pressed. */
  leave() {
    if (this.pressed) this.desk.tool.cancel?.();
    this.pressed = false;
    this.at = null;
  }

  decorate(context) {
    if (!this.at) return;
    const { x, y } = this.at;
    for (const [width, colour] of [[3, "rgb(0 0 0 / 60%)"], [1.5, "#fff"]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 3 * dx, y + 3 * dy);
        context.lineTo(x + 9 * dx, y + 9 * dy);
      }
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  #speakSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.at) this.#speak(this.#place());
    }, PAUSE);
  }

  #place() {
    const { sheet } = this.desk;
    const point = this.desk.inFrame(this.at);
    const index = this.desk.indexAt(point);
    if (index < 0) return "Outside the face";
    const share = (value) => Math.round((100 * value) / sheet.side);
    const name = sheet.vocabulary.name(sheet.labels[index]);
    return `${name}, ${share(point.x)} across, ${share(point.y)} down`;
  }

  #laid() {
    return this.desk.name === "eraser" ? "erasing" : this.desk.sheet.vocabulary.name(this.desk.chosen);
  }

  #speak(text) {
    clearTimeout(this.timer);
    find("#spoken").textContent = text;
  }
}

/** What a tool sees of a key press: a pointer without pressure, pressed once. */
const EVENT = { altKey: false, shiftKey: false, pointerType: "keyboard", pressure: 0.5, detail: 1 };
