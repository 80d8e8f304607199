// The canvas: photo, painted face, regions, and what the tool in hand draws on top.

import { frameScale } from "./viewport.js";

export class Stage {
  #drawing = 0;

  constructor(canvas, viewport, photo) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.viewport = viewport;
    this.photo = photo;
    this.painted = null;
    this.overlay = null;
    this.backdrop = new OffscreenCanvas(1, 1);
    this.hidden = new Set();
    this.opacity = 0.35;
    this.compare = null; // 0…1 of the screen's width: the photo is left of it
    this.regionsShown = true;
    this.decorations = []; // functions of (context, viewport), drawn in screen pixels
    this.afterDrawing = [];
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas.parentElement);
    this.resize();
  }

  /** Let go of the canvas: another document is drawn on it next. */
  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.#drawing);
    this.draw = () => {};
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const { screen } = this.viewport;
    if (screen.width > 1) {
      this.viewport.pan((clientWidth - screen.width) / 2, (clientHeight - screen.height) / 2);
    }
    this.viewport.screen = { width: clientWidth, height: clientHeight };
    const density = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * density);
    this.canvas.height = Math.round(clientHeight * density);
    this.draw();
  }

  /** Show the labels of a sheet; `box` says which changed. */
  showLabels(sheet, box) {
    const { side, labels, vocabulary } = sheet;
    if (!this.overlay || this.overlay.width !== side) {
      this.overlay = new OffscreenCanvas(side, side);
      box = null;
    }
    this.matrix = sheet.matrix;
    this.side = side;
    const { left, top, right, bottom } = box ?? { left: 0, top: 0, right: side, bottom: side };
    const [width, height] = [right - left, bottom - top];
    if (width <= 0 || height <= 0) return;
    const picture = new ImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    const colours = this.#palette(vocabulary);
    for (let y = 0; y < height; y++) {
      const row = (top + y) * side + left;
      for (let x = 0; x < width; x++) pixels[y * width + x] = colours[labels[row + x]];
    }
    this.overlay.getContext("2d").putImageData(picture, left, top);
    this.draw();
  }

  /** Class → RGBA as one number; nothing for the background and what is hidden. */
  #palette({ colours }) {
    const bytes = new Uint8Array(4 * colours.length);
    colours.forEach((colour, value) => {
      if (value > 0 && !this.hidden.has(value)) bytes.set([...colour, 255], 4 * value);
    });
    return new Uint32Array(bytes.buffer);
  }

  /** Show a painted face: ImageData whose opacity says how much of it replaces the photo. */
  showPainted(picture) {
    if (!picture) {
      this.painted = null;
    } else {
      if (this.painted?.width !== picture.width) {
        this.painted = new OffscreenCanvas(picture.width, picture.height);
      }
      this.painted.getContext("2d").putImageData(picture, 0, 0);
    }
    this.draw();
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#paint();
      for (const call of this.afterDrawing.splice(0)) call();
    });
  }

  #paint() {
    const { context, viewport, canvas } = this;
    const density = canvas.width / viewport.screen.width;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const { zoom, left, top } = viewport;
    context.drawImage(this.#backdrop(density), 0, 0);
    context.setTransform(density * zoom, 0, 0, density * zoom, density * left, density * top);
    context.imageSmoothingEnabled = zoom < 4;
    context.imageSmoothingQuality = "high";
    if (this.matrix) this.#paintFrame(context, density);
    context.setTransform(density, 0, 0, density, 0, 0);
    if (this.compare !== null) this.#paintDivider(context);
    for (const decorate of this.decorations) {
      context.save();
      decorate(context, viewport);
      context.restore();
    }
  }

  /** The photo as it lies on the screen: many megapixels are resampled when it moves, no sooner. */
  #backdrop(density) {
    const { zoom, left, top } = this.viewport;
    const { width, height } = this.canvas;
    const place = [density * zoom, 0, 0, density * zoom, density * left, density * top];
    const key = `${place} ${width} ${height}`;
    if (this.placed !== key) {
      this.placed = key;
      Object.assign(this.backdrop, { width, height }); // which clears it
      const context = this.backdrop.getContext("2d");
      context.setTransform(...place);
      context.imageSmoothingEnabled = zoom < 4;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.photo, 0, 0);
    }
    return this.backdrop;
  }

  #paintFrame(context, density) {
    const [[a, b, c], [d, e, f]] = this.matrix;
    const { screen } = this.viewport;
    context.save();
    if (this.compare !== null) {
      const base = context.getTransform();
      context.setTransform(density, 0, 0, density, 0, 0);
      context.beginPath();
      context.rect(this.compare * screen.width, 0, screen.width, screen.height);
      context.clip();
      context.setTransform(base);
    }
    context.transform(a, d, b, e, c, f);
    context.imageSmoothingEnabled = true;
    if (this.painted) context.drawImage(this.painted, 0, 0, this.side, this.side);
    if (this.regionsShown && this.compare === null && this.overlay) {
      context.globalAlpha = this.opacity;
      context.imageSmoothingEnabled = this.viewport.zoom * frameScale(this.matrix) < 2;
      context.imageSmoothingQuality = "low"; // it changes with every move of a brush
      context.drawImage(this.overlay, 0, 0);
    }
    context.restore();
  }

  #paintDivider(context) {
    const { width, height } = this.viewport.screen;
    const x = this.compare * width;
    context.fillStyle = "rgb(255 255 255 / 90%)";
    context.shadowColor = "rgb(0 0 0 / 50%)";
    context.shadowBlur = 4;
    context.fillRect(x - 1, 0, 2, height);
    context.beginPath();
    context.arc(x, height / 2, 13, 0, 2 * Math.PI);
    context.fill();
    context.shadowBlur = 0;
    context.fillStyle = "#333";
    for (const way of [-1, 1]) {
      context.beginPath();
      context.moveTo(x + way * 8, height / 2);
      context.lineTo(x + way * 3, height / 2 - 4);
      context.lineTo(x + way * 3, height / 2 + 4);
      context.fill();
    }
    context.font = "600 11px system-ui, sans-serif";
    context.shadowBlur = 3;
    context.fillStyle = "#fff";
    context.textAlign = "right";
    context.fillText("Before", x - 22, height - 16);
    context.textAlign = "left";
    context.fillText("After", x + 22, height - 16);
  }
}
