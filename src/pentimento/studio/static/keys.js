// Keys. One table: what a key does, and what the help says about it.

import { element, find } from "./element.js";

export const TOOL_KEYS = {
  brush: "b", eraser: "e", fill: "g", lasso: "l", polygon: "p", pick: "i", move: "v", smooth: "s",
  hand: "h",
};

const TAKES_KEYS = "select, input:not([type=range], [type=checkbox])";

/** Listen to keys; `actions` maps names to functions. */
export function listen(actions) {
  const table = [
    ...Object.entries(TOOL_KEYS).map(([tool, key]) => [
      key, `${tool[0].toUpperCase()}${tool.slice(1)}`, () => actions.tool(tool),
    ]),
    ["[", "Smaller brush", () => actions.brush(1 / 1.2)],
    ["]", "Larger brush", () => actions.brush(1.2)],
    ["m", "Show or hide regions", actions.regions],
    ["c", "Compare before and after", actions.compare],
    ["0", "Whole photo", actions.fitPhoto],
    ["f", "The face", actions.fitFace],
    ["+", "Zoom in", () => actions.zoom(1.25)],
    ["-", "Zoom out", () => actions.zoom(0.8)],
    ["Enter", "Close the polygon; take the box", actions.close],
    ["Escape", "Leave what was begun", actions.cancel],
    ["?", "These keys", actions.help],
  ];
  const control = [
    ["z", "Undo", actions.undo],
    ["y", "Redo", actions.redo],
    ["s", "Save", actions.save],
    ["o", "Open", actions.open],
  ];
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.target.matches(TAKES_KEYS)) return;
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key === "z" && event.shiftKey) run(event, actions.redo);
      else run(event, control.find(([name]) => name === key)?.[2]);
    } else if (arrows[event.key] && event.target.matches("canvas")) {
      run(event, () => actions.arrow(...arrows[event.key], event));
    } else if (event.key === " " && event.target.matches("#canvas, body")) {
      run(event, () => event.repeat || actions.space(true));
    } else if (!(event.key === "Enter" && event.target.matches("button"))) {
      run(event, table.find(([name]) => name === event.key)?.[2]);
    }
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") actions.space(false);
  });
  const rows = [
    ...table, ...control.map(([key, text]) => [`Ctrl ${key.toUpperCase()}`, text]),
    ["Arrows", "Move the brush; or the region, with Move"],
    ["Space", "Lower and lift the brush; with a mouse, drag the photo"],
    ["Shift", "Keep proportions; larger steps by arrows"],
    ["Alt", "Brush and eraser trade places"],
  ];
  find("#keys").replaceChildren(
    ...rows.map(([key, text]) => element(
      "div", {},
      element("dt", {}, element("kbd", {}, key.length === 1 ? key.toUpperCase() : key)),
      element("dd", {}, text),
    )),
  );
}

function run(event, action) {
  if (!action) return;
  event.preventDefault();
  action(event);
}
