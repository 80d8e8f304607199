// Raster functions over label maps, flat arrays of side × side classes; they know no page.

/** A box of pixels (right and bottom exclusive) cut to the map, or null. */
function clipped(left, top, right, bottom, side) {
  const box = {
    left: Math.max(0, Math.floor(left)), top: Math.max(0, Math.floor(top)),
    right: Math.min(side, Math.ceil(right)), bottom: Math.min(side, Math.ceil(bottom)),
  };
  return box.left < box.right && box.top < box.bottom ? box : null;
}

/** Call `hit(index)` for every pixel within `radius` of a segment; return the box around them. */
export function stroke(side, from, to, radius, hit) {
  const reach = Math.max(radius, 0.5);
  const box = clipped(
    Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach,
    Math.max(from.x, to.x) + reach + 1, Math.max(from.y, to.y) + reach + 1, side,
  );
  if (!box) return null;
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = dx * dx + dy * dy;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const px = x + 0.5 - from.x;
      const py = y + 0.5 - from.y;
      const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const ex = px - t * dx;
      const ey = py - t * dy;
      if (ex * ex + ey * ey <= reach * reach) hit(y * side + x);
    }
  }
  return box;
}

/** Call `hit(index)` for every pixel whose centre lies in a polygon (even-odd); return the box. */
export function polygon(side, points, hit) {
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const box = clipped(
    Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1, side,
  );
  if (!box) return null;
  for (let y = box.top; y < box.bottom; y++) {
    const crossings = [];
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      const centre = y + 0.5;
      if (a.y <= centre !== b.y <= centre) {
        crossings.push(a.x + ((centre - a.y) / (b.y - a.y)) * (b.x - a.x));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const start = Math.max(box.left, Math.ceil(crossings[i] - 0.5));
      const end = Math.min(box.right - 1, Math.floor(crossings[i + 1] - 0.5));
      for (let x = start; x <= end; x++) hit(y * side + x);
    }
  }
  return box;
}

/** Call `hit(index)` for every pixel connected to `start` that has its label. */
export function flood(labels, side, start, hit) {
  const value = labels[start];
  const seen = new Uint8Array(labels.length);
  const stack = [start];
  seen[start] = 1;
  while (stack.length) {
    const index = stack.pop();
    hit(index);
    const x = index % side;
    const near = [
      x > 0 ? index - 1 : -1, x < side - 1 ? index + 1 : -1, index - side, index + side,
    ];
    for (const next of near) {
      if (next >= 0 && next < labels.length && !seen[next] && labels[next] === value) {
        seen[next] = 1;
        stack.push(next);
      }
    }
  }
}

/** Return the box around all pixels of some classes, or null. */
export function extent(labels, side, classes) {
  const wanted = new Set(classes);
  let box = null;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (!wanted.has(labels[y * side + x])) continue;
      box ??= { left: x, top: y, right: x + 1, bottom: y + 1 };
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.bottom = y + 1;
    }
  }
  return box;
}

/** Return new labels in which the outline of a class is smoothed: every pixel goes with most of its
 * neighbourhood, and what leaves the class takes the commonest other label around it. */
export function smoothed(labels, side, value, radius) {
  const result = labels.slice();
  const around = extent(labels, side, [value]);
  if (!around) return result;
  const box = clipped(
    around.left - radius, around.top - radius, around.right + radius, around.bottom + radius, side,
  );
  const sums = membershipSums(labels, side, value);
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const window = clipped(x - radius, y - radius, x + radius + 1, y + radius + 1, side);
      const area = (window.right - window.left) * (window.bottom - window.top);
      const inside = 2 * sumOver(sums, side, window) > area;
      const index = y * side + x;
      if (inside) result[index] = value;
      else if (labels[index] === value) result[index] = commonest(labels, side, window, value);
    }
  }
  return result;
}

function membershipSums(labels, side, value) {
  const width = side + 1;
  const sums = new Uint32Array(width * width);
  for (let y = 0; y < side; y++) {
    let row = 0;
    for (let x = 0; x < side; x++) {
      row += labels[y * side + x] === value ? 1 : 0;
      sums[(y + 1) * width + x + 1] = sums[y * width + x + 1] + row;
    }
  }
  return sums;
}

function sumOver(sums, side, { left, top, right, bottom }) {
  const width = side + 1;
  return (
    sums[bottom * width + right] - sums[top * width + right] -
    sums[bottom * width + left] + sums[top * width + left]
  );
}

function commonest(labels, side, window, except) {
  const counts = new Uint32Array(256);
  for (let y = window.top; y < window.bottom; y++) {
    for (let x = window.left; x < window.right; x++) counts[labels[y * side + x]]++;
  }
  counts[except] = 0;
  return counts.indexOf(Math.max(...counts));
}

/** Return new labels in which some classes were moved and scaled about a centre; what they leave
 * bare takes the nearest other label. */
export function moved(labels, side, classes, { centre, dx, dy, scaleX, scaleY }) {
  const wanted = new Uint8Array(256);
  for (const value of classes) wanted[value] = 1;
  const result = bared(labels, side, wanted);
  const from = extent(labels, side, classes);
  if (!from) return result;
  const to = clipped(
    centre.x + dx + (from.left - centre.x) * scaleX, centre.y + dy + (from.top - centre.y) * scaleY,
    centre.x + dx + (from.right - centre.x) * scaleX,
    centre.y + dy + (from.bottom - centre.y) * scaleY, side,
  );
  if (!to) return result;
  for (let y = to.top; y < to.bottom; y++) {
    const sy = Math.floor(centre.y + (y + 0.5 - centre.y - dy) / scaleY);
    if (sy < 0 || sy >= side) continue;
    for (let x = to.left; x < to.right; x++) {
      const sx = Math.floor(centre.x + (x + 0.5 - centre.x - dx) / scaleX);
      if (sx >= 0 && sx < side && wanted[labels[sy * side + sx]]) {
        result[y * side + x] = labels[sy * side + sx];
      }
    }
  }
  return result;
}

/** Return labels without the wanted classes: each of their pixels takes the nearest other label. */
function bared(labels, side, wanted) {
  const result = labels.slice();
  const open = new Uint8Array(labels.length);
  const front = [];
  const spread = (index, label, edge) => {
    const x = index % side;
    const near = [
      x > 0 ? index - 1 : -1, x < side - 1 ? index + 1 : -1, index - side, index + side,
    ];
    for (const next of near) {
      if (next >= 0 && next < labels.length && open[next]) {
        open[next] = 0;
        result[next] = label;
        edge.push(next);
      }
    }
  };
  for (let i = 0; i < labels.length; i++) open[i] = wanted[labels[i]];
  for (let i = 0; i < labels.length; i++) {
    if (!wanted[labels[i]]) spread(i, labels[i], front);
  }
  for (let i = 0; i < front.length; i++) spread(front[i], result[front[i]], front);
  return result;
}
