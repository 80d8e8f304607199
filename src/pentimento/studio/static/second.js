// The second picture: point at a region in it and drag it over, or take it by the buttons.

import * as api from "./api.js";
import { PICTURES, chooseFile, element, find } from "./element.js";
import { FaceChooser } from "./faces.js";
import { Stage } from "./stage.js";
import { Viewport } from "./viewport.js";
import { spoken } from "./vocabulary.js";

const CLOSER = 1.15; // the frame's rim is mostly background

export class SecondPicture {
  constructor(desk, { change, guarded, samples }) {
    Object.assign(this, { desk, change, guarded, samples });
    this.canvas = find("#second-canvas");
    this.context = this.canvas.getContext("2d");
    this.region = "hair";
    this.key = null;
    this.chooser = null;
    this.faces = new Map(); // key → the face that was pointed at
    for (const { other, reference, where } of desk.sheet.facts.commands) {
      if (where) this.faces.set(other ?? reference, where);
    }
    find("#second-other").onclick = () => this.guarded(() => this.#ask(this.key));
    find("#second-open").onclick = async () => this.bring(await chooseFile(PICTURES));
    find("#second-swap").onclick = () => this.#take("swap");
    find("#second-restyle").onclick = () => this.#take("restyle");
    this.#fillRegions();
    this.#fillSamples();
    this.#listen();
    desk.sheet.addEventListener("facts", () => this.list());
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
    this.list();
    const [first] = this.keys();
    if (first) this.guarded(() => this.show(first));
  }

  /** Let go of the panel: another document is shown next. */
  close() {
    this.observer.disconnect();
    this.#answered();
  }

  keys() {
    const { photo, pictures } = this.desk.sheet.facts;
    return Object.keys(pictures).filter((key) => key !== photo);
  }

  #fillRegions() {
    const select = find("#second-region");
    const regions = Object.keys(this.desk.sheet.vocabulary.regions);
    select.replaceChildren(
      ...regions.map((region) => element("option", { value: region }, spoken(region))),
    );
    select.value = this.region;
    select.onchange = () => this.choose(select.value);
  }

  #fillSamples() {
    find("#second-samples").replaceChildren(
      ...this.samples.map((name) => {
        const picture = element("img", { src: api.sampleAddress(name), alt: "", draggable: false });
        const title = `Use the sample ${name.split(".")[0]}`;
        const button = element("button", { type: "button", className: "thumb", title }, picture);
        button.setAttribute("aria-label", title);
        button.onclick = () => this.bring(null, name);
        return button;
      }),
    );
  }

  /** Show which pictures the document has. */
  list() {
    const { pictures } = this.desk.sheet.facts;
    find("#second-list").replaceChildren(
      ...this.keys().map((key) => {
        const title = `Show ${pictures[key]}`;
        const button = element("button", { type: "button", className: "chip", title }, pictures[key]);
        button.setAttribute("aria-pressed", String(key === this.key));
        button.onclick = () => this.guarded(() => this.show(key));
        return button;
      }),
    );
    find("#second").classList.toggle("empty", !this.key);
    for (const taking of ["#second-swap", "#second-restyle"]) find(taking).disabled = !this.frame;
  }

  /** Bring in a file or a sample, and show it. */
  bring(file, sample) {
    if (!file && !sample) return Promise.resolve();
    return this.guarded(async () => this.show(await this.desk.sheet.bring(file, sample)));
  }

  /** Show a picture: the face that was pointed at, the only one, or the question which. */
  async show(key) {
    const { id } = this.desk.sheet;
    const [{ faces }, photo] = await Promise.all([
      api.pictureFaces(id, key), loaded(api.pictureAddress(id, key)),
    ]);
    this.#answered();
    this.key = key;
    this.photo = photo;
    this.found = faces;
    this.frame = null;
    if (faces.length === 1 || this.faces.has(key)) await this.#see(this.faces.get(key) ?? {});
    else this.#ask();
  }

  /** Ask which face is meant: the whole picture is shown, each face framed. */
  #ask() {
    const { key } = this;
    const { pictures } = this.desk.sheet.facts;
    this.#answered();
    const stage = new Stage(this.canvas, new Viewport(this.photo.width, this.photo.height), this.photo);
    stage.viewport.fit(undefined, 8);
    const facts = { faces: this.found, name: pictures[key] };
    this.chooser = new FaceChooser(find("#second-faces"), stage, facts, (face) =>
      this.guarded(async () => {
        await this.#see(face);
        this.faces.set(key, face);
      }),
    );
    this.list();
    find("#second").classList.add("asking");
  }

  async #see(face) {
    const { facts, data } = await api.pictureFrame(this.desk.sheet.id, this.key, face);
    this.#answered();
    this.frame = facts;
    this.labels = data.slice(0, facts.side ** 2);
    this.list();
    this.draw();
  }

  #answered() {
    this.chooser?.close();
    this.chooser?.stage.close();
    this.chooser = null;
    find("#second").classList.remove("asking");
  }

  choose(region) {
    this.region = region;
    find("#second-region").value = region;
    this.draw();
  }

  /** Where the canvas shows the frame: the face fills its height, the photo goes on around it. */
  #placed() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = (Math.min(width, height) / this.frame.side) * CLOSER;
    const side = scale * this.frame.side;
    return { scale, left: (width - side) / 2, top: (height - side) / 2 };
  }

  /** Show the face, and the chosen region brighter than the rest. */
  draw() {
    const { canvas, context, frame } = this;
    if (!frame || this.chooser || !canvas.clientWidth) return;
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * density);
    canvas.height = Math.round(canvas.clientHeight * density);
    const { scale, left, top } = this.#placed();
    const place = () =>
      context.setTransform(density * scale, 0, 0, density * scale, density * left, density * top);
    const [[a, b, c], [d, e, f]] = frame.matrix;
    const det = a * e - b * d;
    place();
    const [x, y] = [(b * f - e * c) / det, (d * c - a * f) / det];
    context.transform(e / det, -d / det, -b / det, a / det, x, y);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.photo, 0, 0);
    context.globalCompositeOperation = "source-atop";
    context.fillStyle = "rgb(20 22 28 / 47%)";
    context.beginPath();
    context.rect(-1e5, -1e5, 2e5, 2e5);
    place();
    context.rect(0, 0, frame.side, frame.side);
    context.fill("evenodd");
    context.drawImage(this.#veil(), 0, 0);
    context.globalCompositeOperation = "source-over";
  }

  #veil() {
    const { side } = this.frame;
    const classes = new Set(this.desk.sheet.vocabulary.regions[this.region]);
    const veil = new ImageData(side, side);
    for (let i = 0; i < this.labels.length; i++) {
      if (!classes.has(this.labels[i])) veil.data.set([20, 22, 28, 120], 4 * i);
    }
    const canvas = new OffscreenCanvas(side, side);
    canvas.getContext("2d").putImageData(veil, 0, 0);
    return canvas;
  }

  #listen() {
    const { canvas } = this;
    const ghost = find("#ghost");
    let dragging = false;
    canvas.onpointerdown = (event) => {
      if (this.chooser) this.chooser.down(this.#inPhoto(event));
      if (this.chooser || !this.frame) return;
      const region = this.#under(event);
      if (!region) return;
      this.choose(region);
      canvas.setPointerCapture(event.pointerId);
      dragging = true;
      ghost.textContent = spoken(region);
    };
    canvas.onpointermove = (event) => {
      this.chooser?.move(this.#inPhoto(event));
      if (!dragging) return;
      ghost.hidden = false;
      ghost.style.left = `${event.clientX}px`;
      ghost.style.top = `${event.clientY}px`;
      const over = this.#overStage(event);
      ghost.classList.toggle("over", over);
    };
    canvas.onpointerup = (event) => {
      this.chooser?.up();
      if (dragging && !ghost.hidden && this.#overStage(event)) this.#take("swap");
      dragging = false;
      ghost.hidden = true;
    };
    canvas.onpointercancel = () => {
      dragging = false;
      ghost.hidden = true;
    };
  }

  /** The region under the pointer that can be taken, or undefined. */
  #under(event) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.#placed();
    const { side } = this.frame;
    const x = Math.floor((event.clientX - box.left - left) / scale);
    const y = Math.floor((event.clientY - box.top - top) / scale);
    if (x < 0 || y < 0 || x >= side || y >= side) return undefined;
    return this.desk.sheet.vocabulary.borrowed(this.labels[y * side + x]);
  }

  #inPhoto({ clientX, clientY }) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return this.chooser.stage.viewport.toPhoto({ x: clientX - left, y: clientY - top });
  }

  #overStage({ clientX, clientY }) {
    const { left, right, top, bottom } = this.desk.stage.canvas.getBoundingClientRect();
    return clientX > left && clientX < right && clientY > top && clientY < bottom;
  }

  #take(verb) {
    if (!this.frame) return;
    const where = this.faces.get(this.key);
    const source = verb === "swap" ? { other: this.key } : { reference: this.key };
    const name = spoken(this.region);
    const label = verb === "swap" ? `Take ${name}` : `Restyle ${name}`;
    const command = { verb, region: this.region, ...source, amount: 1, ...(where && { where }) };
    this.change(label, command);
  }
}

/** A picture, decoded. */
export async function loaded(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error("The picture could not be loaded. Reload the page.");
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
}
