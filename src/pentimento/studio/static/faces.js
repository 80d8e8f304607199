// Which face is meant: one of several that were found, or a box that the person draws.

import { element } from "./element.js";

const LEAST = 8; // photo pixels: a smaller box is a slip of the hand

export class FaceChooser {
  /**
   * @param panel where the question is asked: a text and a row of choices.
   * @param faces quads of the faces found, in photo pixels.
   * @param chosen called with what was pointed at: { index }, { box } or { aligned }.
   */
  constructor(panel, stage, { faces, name }, chosen) {
    Object.assign(this, { panel, stage, faces, name, chosen });
    this.hovered = -1;
    this.corner = null;
    this.box = null;
    stage.decorations = [(context, viewport) => this.#draw(context, viewport)];
    this.#ask();
    stage.draw();
  }

  #ask() {
    const text = this.faces.length
      ? `${this.faces.length} ${this.faces.length > 1 ? "faces" : "face"} in ${this.name}. ` +
        "Click one, or draw a box around another."
      : `No face was found in ${this.name}. Draw a box around one, from the brows to the chin; ` +
        "with the keyboard, arrow keys move the box, Shift changes its size, Enter takes it.";
    const choices = this.faces.map((_, i) => {
      const button = element("button", { type: "button" }, `Face ${i + 1}`);
      button.onclick = () => this.chosen({ index: i + 1 });
      button.onpointerenter = button.onfocus = () => this.#hover(i);
      return button;
    });
    const whole = element("button", { type: "button", className: "quiet" }, "The whole picture is the face");
    whole.onclick = () => this.chosen({ aligned: true });
    this.panel.replaceChildren(
      element("span", {}, text),
      element("div", { className: "choices" }, ...choices, whole),
    );
    this.panel.hidden = false;
  }

  #hover(index) {
    this.hovered = index;
    this.stage.draw();
  }

  down(photo) {
    const hit = this.faces.findIndex((quad) => inside(quad, photo));
    if (hit >= 0) this.chosen({ index: hit + 1 });
    else this.corner = photo;
  }

  move(photo) {
    if (this.corner) {
      this.box = [
        Math.min(this.corner.x, photo.x), Math.min(this.corner.y, photo.y),
        Math.max(this.corner.x, photo.x), Math.max(this.corner.y, photo.y),
      ];
      this.stage.draw();
    } else {
      this.#hover(this.faces.findIndex((quad) => inside(quad, photo)));
    }
  }

  up() {
    if (!this.corner) return;
    this.corner = null;
    this.take();
  }

  /** Arrow keys: the box moves, or grows and shrinks about its middle; the first one shows it. */
  nudge(dx, dy, sizes) {
    const { width, height } = this.stage.viewport.photo;
    const step = Math.min(width, height) / 40;
    if (!this.box) {
      const half = Math.min(width, height) / 5;
      this.box = [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half];
    } else {
      const [left, top, right, bottom] = this.box;
      const grow = sizes ? -1 : 1;
      const moved = [left + grow * dx * step, top + grow * dy * step, right + dx * step, bottom + dy * step];
      if (moved[2] - moved[0] > step && moved[3] - moved[1] > step) this.box = moved;
    }
    this.stage.draw();
  }

  /** Take the box as it is. */
  take() {
    const { box } = this;
    this.box = null;
    this.stage.draw();
    if (box && box[2] - box[0] > LEAST && box[3] - box[1] > LEAST) this.chosen({ box });
  }

  close() {
    this.panel.hidden = true;
    this.stage.decorations = [];
  }

  #draw(context, viewport) {
    this.faces.forEach((quad, i) => {
      const corners = quad.map(([x, y]) => viewport.toScreen({ x, y }));
      frame(context, corners, i === this.hovered);
      if (this.faces.length > 1) number(context, corners, i + 1, viewport.screen);
    });
    if (this.box) {
      const [left, top, right, bottom] = this.box;
      const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
      frame(context, corners.map(([x, y]) => viewport.toScreen({ x, y })), true);
    }
  }
}

function frame(context, points, strong) {
  context.beginPath();
  for (const { x, y } of points) context.lineTo(x, y);
  context.closePath();
  context.lineWidth = strong ? 5 : 4;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.stroke();
  context.lineWidth = strong ? 3 : 1.5;
  context.strokeStyle = "#fff";
  context.stroke();
}

/** The number of a face, in the middle of its frame's lower edge, within the screen. */
function number(context, corners, text, { width, height }) {
  const middle = corners.reduce((sum, { x }) => sum + x / corners.length, 0);
  const x = Math.min(width - 16, Math.max(16, middle));
  const y = Math.min(height - 16, Math.max(...corners.map((p) => p.y)) - 18);
  context.beginPath();
  context.arc(x, y, 11, 0, 2 * Math.PI);
  context.fillStyle = "#fff";
  context.fill();
  context.fillStyle = "#22242b";
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y + 1);
}

function inside(quad, { x, y }) {
  const xs = quad.map((p) => p[0]);
  const ys = quad.map((p) => p[1]);
  return x > Math.min(...xs) && x < Math.max(...xs) && y > Math.min(...ys) && y < Math.max(...ys);
}
