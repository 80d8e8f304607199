// The tools. Each is an object with the pointer's three moments; points come in frame pixels, and
// `desk` is what the tools work on: sheet, stage, brush, chosen class, and `changed`/`finish`.

import { extent, flood, moved, polygon, smoothed, stroke } from "./labels.js";
import { frameScale, intoFrame, outOfFrame } from "./viewport.js";

const HANDLE = 9; // px on the screen

/** Brush and eraser: the same stroke, laying a class or taking paint away. */
class Brush {
  constructor(desk, erases) {
    this.desk = desk;
    this.erases = erases;
    this.last = null;
  }

  down(point, event) {
    this.last = point;
    this.before = this.desk.sheet.layer.slice();
    this.erasing = this.erases !== event.altKey;
    this.move(point, event);
  }

  move(point, event) {
    if (!this.last) return;
    const { sheet, brush, chosen } = this.desk;
    const pen = event.pointerType === "pen" ? 0.3 + 0.7 * event.pressure : 1;
    const value = this.erasing ? sheet.vocabulary.unpainted : chosen;
    const box = stroke(sheet.side, this.last, point, (brush * pen) / 2, (i) => {
      if (sheet.free(i)) sheet.layer[i] = value;
    });
    this.last = point;
    if (box) this.desk.changed(box);
  }

  up() {
    if (!this.last) return;
    this.last = null;
    const { sheet, chosen } = this.desk;
    this.desk.finish(this.erasing ? "Erase paint" : `Paint ${sheet.vocabulary.name(chosen)}`);
  }

  /** A second finger came down, or another tool was taken: the stroke was not meant. */
  cancel() {
    if (!this.last) return;
    this.last = null;
    this.desk.sheet.layer.set(this.before);
    this.desk.changed(null);
  }

  decorate(context, viewport) {
    const { pointer, sheet, brush, chosen } = this.desk;
    if (!pointer) return;
    const radius = (brush / 2) * frameScale(sheet.matrix) * viewport.zoom;
    ring(context, pointer, Math.max(radius, 1.5), "rgb(0 0 0 / 60%)", 3);
    const colour = this.erases ? "#fff" : sheet.vocabulary.css(chosen);
    ring(context, pointer, Math.max(radius, 1.5), colour, 1.5);
  }
}

function ring(context, { x, y }, radius, colour, width) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}

/** Fill: the connected area under the pointer takes the chosen class. */
class Fill {
  constructor(desk) {
    this.desk = desk;
  }

  down(point) {
    const { sheet, chosen } = this.desk;
    const start = this.desk.indexAt(point);
    if (start < 0 || !sheet.free(start) || sheet.labels[start] === chosen) return;
    flood(sheet.labels.slice(), sheet.side, start, (i) => {
      sheet.layer[i] = chosen;
    });
    this.desk.changed(null);
    this.desk.finish(`Fill with ${sheet.vocabulary.name(chosen)}`);
  }
}

/** Lasso: what is drawn around takes the chosen class. */
class Lasso {
  constructor(desk) {
    this.desk = desk;
    this.points = [];
  }

  down(point) {
    this.points = [point];
  }

  move(point) {
    if (!this.points.length) return;
    this.points.push(point);
    this.desk.stage.draw();
  }

  up() {
    fillPolygon(this.desk, this.points, "Lasso");
    this.points = [];
  }

  cancel() {
    this.points = [];
    this.desk.stage.draw();
  }

  decorate(context, viewport) {
    outline(context, viewport, this.desk, this.points, true);
  }
}

/** Polygon: corners by clicks; the first corner, Enter or a double click closes it. */
class Polygon {
  constructor(desk) {
    this.desk = desk;
    this.points = [];
  }

  down(point, event) {
    const first = this.points[0];
    const near = first && this.desk.screenDistance(first, point) < HANDLE;
    if ((near && this.points.length > 2) || event.detail > 1) {
      this.close();
      return;
    }
    this.points.push(point);
    this.desk.stage.draw();
  }

  move(point) {
    this.hover = point;
    this.desk.stage.draw();
  }

  close() {
    fillPolygon(this.desk, this.points, "Polygon");
    this.cancel();
  }

  cancel() {
    this.points = [];
    this.desk.stage.draw();
  }

  decorate(context, viewport) {
    const shown = this.points.length && this.hover ? [...this.points, this.hover] : this.points;
    outline(context, viewport, this.desk, shown, false);
    for (const point of this.points) {
      ring(context, this.desk.onScreen(point, viewport), 3.5, "#fff", 2);
    }
  }
}

function fillPolygon(desk, points, name) {
  if (points.length < 3) return;
  const { sheet, chosen } = desk;
  const box = polygon(sheet.side, points, (i) => {
    if (sheet.free(i)) sheet.layer[i] = chosen;
  });
  if (!box) return;
  desk.changed(box);
  desk.finish(`${name} ${sheet.vocabulary.name(chosen)}`);
}

function outline(context, viewport, desk, points, closed) {
  if (points.length < 2) return;
  context.beginPath();
  for (const point of points) {
    const { x, y } = desk.onScreen(point, viewport);
    context.lineTo(x, y);
  }
  if (closed) context.closePath();
  context.lineWidth = 3;
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.stroke();
  context.lineWidth = 1.5;
  context.strokeStyle = "#fff";
  context.stroke();
}

/** Pick: the region under the pointer becomes the chosen one. */
class Pick {
  constructor(desk) {
    this.desk = desk;
  }

  down(point) {
    const index = this.desk.indexAt(point);
    if (index >= 0) this.desk.choose(this.desk.sheet.labels[index]);
  }
}

/** Move: drag the chosen region, or one of its corners to scale it. */
class Move {
  constructor(desk) {
    this.desk = desk;
    this.grip = null;
  }

  get classes() {
    return this.desk.sheet.vocabulary.movedWith(this.desk.chosen);
  }

  box() {
    const { sheet } = this.desk;
    const key = `${this.classes} ${sheet.facts.position} ${this.grip ? "held" : "free"}`;
    if (this.key !== key || this.grip) {
      this.key = key;
      this.known = extent(sheet.labels, sheet.side, this.classes);
    }
    return this.known;
  }

  down(point) {
    const { sheet } = this.desk;
    let box = this.box();
    let corner = box && corners(box).find((c) => this.desk.screenDistance(c, point) < HANDLE + 4);
    if (!corner) {
      const index = this.desk.indexAt(point);
      if (index < 0) return;
      const value = sheet.labels[index];
      if (value === 0) return;
      if (!this.classes.includes(value)) this.desk.choose(value);
      box = this.box();
    }
    if (!box) return;
    const centre = { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 };
    const [labels, layer] = [sheet.labels.slice(), sheet.layer.slice()];
    this.grip = { from: point, corner, centre, labels, layer };
  }

  move(point, event) {
    if (!this.grip) return;
    const { from, corner, centre, labels, layer } = this.grip;
    const change = { centre, dx: 0, dy: 0, scaleX: 1, scaleY: 1 };
    if (corner) {
      const held = (axis) => {
        const factor = (point[axis] - centre[axis]) / (corner[axis] - centre[axis]);
        return Math.min(4, Math.max(0.25, factor));
      };
      change.scaleX = held("x");
      change.scaleY = event.shiftKey ? change.scaleX : held("y");
    } else {
      change.dx = point.x - from.x;
      change.dy = point.y - from.y;
    }
    const { sheet } = this.desk;
    sheet.layer.set(layer);
    sheet.refresh(null);
    sheet.lay(moved(labels, sheet.side, this.classes, change));
    this.grip.moved = true;
    this.desk.changed(null);
  }

  up() {
    const grip = this.grip;
    this.grip = null;
    this.key = null;
    if (grip?.moved) {
      const verb = grip.corner ? "Scale" : "Move";
      this.desk.finish(`${verb} ${this.desk.sheet.vocabulary.name(this.desk.chosen)}`);
    }
  }

  /** Arrow keys move the region, one frame pixel at a time or ten. */
  nudge(dx, dy) {
    const { sheet } = this.desk;
    const box = this.box();
    if (!box) return;
    const change = { centre: { x: 0, y: 0 }, dx, dy, scaleX: 1, scaleY: 1 };
    sheet.lay(moved(sheet.labels.slice(), sheet.side, this.classes, change));
    this.key = null;
    this.desk.finish(`Move ${sheet.vocabulary.name(this.desk.chosen)}`);
  }

  decorate(context, viewport) {
    const box = this.box();
    if (!box) return;
    const points = corners(box);
    outline(context, viewport, this.desk, points, true);
    for (const point of points) {
      const { x, y } = this.desk.onScreen(point, viewport);
      context.fillStyle = "#fff";
      context.strokeStyle = "rgb(0 0 0 / 60%)";
      context.lineWidth = 1;
      context.fillRect(x - 4.5, y - 4.5, 9, 9);
      context.strokeRect(x - 4.5, y - 4.5, 9, 9);
    }
  }
}

const corners = ({ left, top, right, bottom }) => [
  { x: left, y: top }, { x: right, y: top }, { x: right, y: bottom }, { x: left, y: bottom },
];

/** Smooth: the outline of the region under the pointer loses its steps. */
class Smooth {
  constructor(desk) {
    this.desk = desk;
  }

  down(point) {
    const index = this.desk.indexAt(point);
    if (index >= 0) this.apply(this.desk.sheet.labels[index]);
  }

  apply(value) {
    const { sheet } = this.desk;
    const radius = Math.max(2, Math.round(sheet.side / 90));
    sheet.lay(smoothed(sheet.labels, sheet.side, value, radius));
    this.desk.finish(`Smooth ${sheet.vocabulary.name(value)}`);
  }
}

/** Hand: drag the photo. Handled by the desk itself, as the space bar does it in every tool. */
class Hand {}

/** What the tools share. */
export class Desk extends EventTarget {
  constructor(sheet, stage, previewer) {
    super();
    Object.assign(this, { sheet, stage, previewer });
    this.brush = Math.round(sheet.side / 14);
    this.chosen = sheet.vocabulary.classes.indexOf("hair");
    this.pointer = null;
    this.tools = {
      brush: new Brush(this, false), eraser: new Brush(this, true), fill: new Fill(this),
      lasso: new Lasso(this), polygon: new Polygon(this), pick: new Pick(this),
      move: new Move(this), smooth: new Smooth(this), hand: new Hand(),
    };
    this.take("brush");
    stage.decorations = [(context, viewport) => this.tool.decorate?.(context, viewport)];
  }

  take(name) {
    this.tool?.cancel?.();
    this.name = name;
    this.tool = this.tools[name];
    this.stage.draw();
    this.dispatchEvent(new Event("tool"));
  }

  choose(value) {
    this.chosen = value;
    this.stage.draw();
    this.dispatchEvent(new Event("chosen"));
  }

  resizeBrush(size) {
    this.brush = Math.min(this.sheet.side / 3, Math.max(1, size));
    this.stage.draw();
    this.dispatchEvent(new Event("brush"));
  }

  /** Labels have changed within a box (null: anywhere), and more may come. */
  changed(box) {
    this.sheet.refresh(box);
    this.previewer.hurry();
  }

  /** The change is complete: show it, and add it to the history. */
  finish(label) {
    this.previewer.ask();
    this.sheet.commit(label);
  }

  indexAt({ x, y }) {
    const { side } = this.sheet;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    return column >= 0 && row >= 0 && column < side && row < side ? row * side + column : -1;
  }

  inFrame(screen) {
    return intoFrame(this.sheet.matrix, this.stage.viewport.toPhoto(screen));
  }

  onScreen(point, viewport) {
    return viewport.toScreen(outOfFrame(this.sheet.matrix, point));
  }

  screenDistance(one, other) {
    const { zoom } = this.stage.viewport;
    return Math.hypot(one.x - other.x, one.y - other.y) * frameScale(this.sheet.matrix) * zoom;
  }
}
