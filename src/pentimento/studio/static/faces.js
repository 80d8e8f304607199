// Which face is meant: one of several that were found, or a box that the person draws.

import * as api from "./api.js";
import { element, find } from "./element.js";

export class FaceChooser {
  constructor(facts, stage, { chosen, guarded }) {
    Object.assign(this, { facts, stage, chosen, guarded });
    this.hovered = -1;
    this.corner = null;
    this.box = null;
    stage.decorations = [(context, viewport) => this.#draw(context, viewport)];
    find("#faces").hidden = false;
    this.#say();
    stage.draw();
  }

  #say() {
    const { faces, name } = this.facts;
    find("#faces-text").textContent = faces.length
      ? `${faces.length} faces in ${name}. Click the one to edit.`
      : `No face was found in ${name}. Draw a box around one, from the brows to the chin.`;
    const choices = faces.map((_, i) => {
      const button = element("button", { type: "button" }, `Face ${i + 1}`);
      button.onclick = () => this.#choose({ index: i + 1 });
      button.onpointerenter = button.onfocus = () => this.#hover(i);
      return button;
    });
    const whole = element("button", { type: "button", className: "quiet" }, "It is already a face crop");
    whole.onclick = () => this.#choose({ aligned: true });
    find("#faces-choices").replaceChildren(...choices, whole);
  }

  #hover(index) {
    this.hovered = index;
    this.stage.draw();
  }

  down(photo) {
    const hit = this.facts.faces.findIndex((quad) => inside(quad, photo));
    if (hit >= 0) this.#choose({ index: hit + 1 });
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
      this.#hover(this.facts.faces.findIndex((quad) => inside(quad, photo)));
    }
  }

  up() {
    const box = this.box;
    this.corner = this.box = null;
    if (box && box[2] - box[0] > 8 && box[3] - box[1] > 8) this.#choose({ box });
    this.stage.draw();
  }

  #choose(pointed) {
    return this.guarded(async () => {
      const facts = await api.chooseFace(this.facts.id, pointed);
      this.close();
      await this.chosen(facts);
    });
  }

  close() {
    find("#faces").hidden = true;
    this.stage.decorations = [];
  }

  #draw(context, viewport) {
    this.facts.faces.forEach((quad, i) => {
      frame(context, quad.map(([x, y]) => viewport.toScreen({ x, y })), i === this.hovered);
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

function inside(quad, { x, y }) {
  const xs = quad.map((p) => p[0]);
  const ys = quad.map((p) => p[1]);
  return x > Math.min(...xs) && x < Math.max(...xs) && y > Math.min(...ys) && y < Math.max(...ys);
}
