// Where the photo lies on the screen. Points are { x, y }; "photo" is in photo pixels, "frame" in
// pixels of the face's frame, whose matrix (2 × 3) leads from frame to photo.

const MOST = 32;

export class Viewport {
  constructor(width, height) {
    this.photo = { width, height };
    this.screen = { width: 1, height: 1 };
    this.zoom = 1;
    this.left = 0;
    this.top = 0;
  }

  /** Show a rectangle of the photo as large as it fits; the whole photo by default. */
  fit(box = { left: 0, top: 0, right: this.photo.width, bottom: this.photo.height }, rim = 24) {
    const width = box.right - box.left;
    const height = box.bottom - box.top;
    const room = { width: this.screen.width - 2 * rim, height: this.screen.height - 2 * rim };
    this.zoom = Math.min(MOST, Math.max(0.02, Math.min(room.width / width, room.height / height)));
    this.left = this.screen.width / 2 - ((box.left + box.right) / 2) * this.zoom;
    this.top = this.screen.height / 2 - ((box.top + box.bottom) / 2) * this.zoom;
  }

  /** Zoom by a factor about a point of the screen. */
  zoomAt(factor, { x, y }) {
    const zoom = Math.min(MOST, Math.max(0.02, this.zoom * factor));
    this.left = x - ((x - this.left) * zoom) / this.zoom;
    this.top = y - ((y - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
  }

  toPhoto({ x, y }) {
    return { x: (x - this.left) / this.zoom, y: (y - this.top) / this.zoom };
  }

  toScreen({ x, y }) {
    return { x: x * this.zoom + this.left, y: y * this.zoom + this.top };
  }
}

/** Photo → frame. */
export function intoFrame([[a, b, c], [d, e, f]], { x, y }) {
  const det = a * e - b * d;
  return {
    x: (e * (x - c) - b * (y - f)) / det,
    y: (a * (y - f) - d * (x - c)) / det,
  };
}

/** Frame → photo. */
export const outOfFrame = ([[a, b, c], [d, e, f]], { x, y }) => ({
  x: a * x + b * y + c,
  y: d * x + e * y + f,
});

/** Photo pixels that one frame pixel spans along a side. */
export const frameScale = ([[a, b], [d, e]]) => Math.sqrt(Math.abs(a * e - b * d));
