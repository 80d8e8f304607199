// The page: opens documents and connects the parts.

import * as api from "./api.js";
import { Changes } from "./changes.js";
import { Cursor } from "./cursor.js";
import { PICTURES, PROJECTS, chooseFile, find } from "./element.js";
import { FaceChooser } from "./faces.js";
import { TOOL_KEYS, listen } from "./keys.js";
import { Previewer } from "./previewer.js";
import { watched } from "./progress.js";
import { Regions } from "./regions.js";
import { Saving } from "./saving.js";
import { SecondPicture, loaded } from "./second.js";
import { Sheet } from "./sheet.js";
import { Stage } from "./stage.js";
import { Desk } from "./tools.js";
import { Viewport } from "./viewport.js";
import { Welcome } from "./welcome.js";

const canvas = find("#canvas");
const ROOM = 96; // px around a photo whose face is asked for: the question stands above it
let samples = [];
let stage = null;
let desk = null;
let cursor = null;
let chooser = null;
let saving = null;
let second = null;
let handHeld = false;

// ---- messages -------------------------------------------------------------------------------

let hush = 0;

function say(text, kind = "info") {
  const toast = find("#toast");
  toast.textContent = text;
  toast.className = kind;
  toast.hidden = false;
  clearTimeout(hush);
  hush = setTimeout(() => (toast.hidden = true), kind === "trouble" ? 9000 : 3500);
}

const trouble = (error) => {
  if (error.message === "cancelled") say("Cancelled.");
  else say(error.message, "trouble");
};

/** Run work that may take a while or fail; the person is told either way. */
async function guarded(work) {
  try {
    return await watched(work);
  } catch (error) {
    trouble(error);
    return undefined;
  }
}

// ---- opening --------------------------------------------------------------------------------

const welcome = new Welcome({ open: openWith, guarded });

function openWith(request) {
  find("#toast").hidden = true;
  return guarded(async () => show(await request()));
}

function openFile(file) {
  return openWith(() => api.open(file));
}

async function show(facts) {
  const photo = await loaded(api.pictureAddress(facts.id, facts.photo));
  leave();
  history.replaceState(null, "", `#${facts.id}`);
  document.title = `${facts.name} · Pentimento`;
  find("#name").textContent = facts.name;
  document.body.classList.add("open");
  welcome.hide();
  stage = new Stage(canvas, new Viewport(photo.width, photo.height), photo);
  stage.opacity = find("#opacity").value / 100;
  stage.viewport.fit();
  const said = facts.where.box || facts.where.aligned || facts.steps[0] !== "Open";
  if (facts.faces.length === 1 || said) await begin(facts);
  else {
    stage.viewport.fit(undefined, ROOM);
    chooser = new FaceChooser(find("#faces"), stage, facts, (face) => choose(facts.id, face));
  }
}

function choose(id, face) {
  return guarded(async () => begin(await api.chooseFace(id, face)));
}

/** Start editing: the face is known. */
async function begin(facts) {
  chooser?.close();
  chooser = null;
  const sheet = new Sheet(facts);
  await sheet.fetchFrame();
  const previewer = new Previewer(sheet);
  desk = new Desk(sheet, stage, previewer);
  cursor = new Cursor(desk);
  stage.decorations.push((context) => cursor.decorate(context));
  sheet.addEventListener("labels", ({ detail }) => stage.showLabels(sheet, detail));
  sheet.addEventListener("trouble", ({ detail }) => trouble(detail));
  previewer.addEventListener("trouble", ({ detail }) => trouble(detail));
  previewer.addEventListener("picture", ({ detail }) => showPicture(detail));
  stage.showLabels(sheet, null);
  new Regions(desk, { change });
  new Changes(desk, { preview: (commands) => previewer.hurry(commands) });
  second = new SecondPicture(desk, { change, guarded, samples });
  saving = new Saving(sheet, { guarded, say });
  desk.addEventListener("tool", showTool);
  desk.addEventListener("brush", showBrush);
  showTool();
  showBrush();
  fitFace();
  document.body.classList.add("editing");
  previewer.ask();
}

function showPicture({ picture, start, kind }) {
  stage.showPainted(picture);
  stage.afterDrawing.push(() => {
    performance.measure(kind, { start, end: performance.now() });
  });
}

/** Add a command; on one region the newest of its kind counts. */
function change(label, command) {
  return guarded(async () => {
    const { commands } = desk.sheet.facts;
    const looks = (c) => c.verb === "restyle";
    const kept = commands.filter(
      (c) => c.region !== command.region || looks(c) !== looks(command),
    );
    await desk.sheet.command(label, [...kept, command]);
    desk.previewer.ask();
  });
}

/** Put the open document away; it stays on disk. */
function leave() {
  desk?.previewer.stop();
  chooser?.close();
  stage?.close();
  second?.close();
  stage = desk = cursor = chooser = saving = second = null;
  document.body.classList.remove("open", "editing");
}

// ---- the top bar ----------------------------------------------------------------------------

async function undo() {
  await desk?.sheet.undo();
  desk?.previewer.ask();
}

async function redo() {
  await desk?.sheet.redo();
  desk?.previewer.ask();
}

function toggleRegions() {
  if (!stage) return;
  stage.regionsShown = !stage.regionsShown;
  find("#show-regions").setAttribute("aria-pressed", String(stage.regionsShown));
  stage.draw();
}

function toggleCompare() {
  if (!stage) return;
  stage.compare = stage.compare === null ? 0.5 : null;
  find("#compare").setAttribute("aria-pressed", String(stage.compare !== null));
  find("#divider").hidden = stage.compare === null;
  find("#divider").value = 50;
  stage.draw();
}

function fitPhoto() {
  stage?.viewport.fit();
  stage?.draw();
  showZoom();
}

function fitFace() {
  if (!desk) return;
  const xs = desk.sheet.quad.map(([x]) => x);
  const ys = desk.sheet.quad.map(([, y]) => y);
  const grow = 0.2 * (Math.max(...xs) - Math.min(...xs));
  const { width, height } = stage.viewport.photo;
  const box = {
    left: Math.max(0, Math.min(...xs) - grow), right: Math.min(width, Math.max(...xs) + grow),
    top: Math.max(0, Math.min(...ys) - grow), bottom: Math.min(height, Math.max(...ys) + grow),
  };
  stage.viewport.fit(box);
  stage.draw();
  showZoom();
}

function zoom(factor, point) {
  if (!stage) return;
  const { width, height } = stage.viewport.screen;
  stage.viewport.zoomAt(factor, point ?? { x: width / 2, y: height / 2 });
  stage.draw();
  showZoom();
}

function showZoom() {
  find("#zoom").textContent = `${Math.round(100 * stage.viewport.zoom)} %`;
}

function showTool() {
  for (const button of document.querySelectorAll("#tools [data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === desk.name));
  }
  canvas.dataset.tool = desk.name;
  find("#hint").textContent = find(`#tools [data-tool=${desk.name}]`).dataset.hint;
  find("#brush-options").hidden = !["brush", "eraser"].includes(desk.name);
}

const brushRange = () => Math.log(desk.sheet.side / 3);

function showBrush() {
  find("#size").value = Math.round((100 * Math.log(desk.brush)) / brushRange());
  find("#size-text").textContent = `${Math.round(desk.brush)} px`;
}

function toggleTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
}

function goHome() {
  leave();
  history.replaceState(null, "", "#");
  document.title = "Pentimento";
  find("#name").textContent = "";
  welcome.show();
}

find("#undo").onclick = undo;
find("#redo").onclick = redo;
find("#show-regions").onclick = toggleRegions;
find("#compare").onclick = toggleCompare;
find("#fit").onclick = fitPhoto;
find("#fit-face").onclick = fitFace;
find("#zoom-in").onclick = () => zoom(1.25);
find("#zoom-out").onclick = () => zoom(0.8);
find("#theme").onclick = toggleTheme;
find("#home").onclick = goHome;
find("#save").onclick = () => saving?.show();
find("#help").onclick = () => find("#help-dialog").showModal();
find("#opacity").oninput = ({ target }) => {
  if (!stage) return;
  stage.opacity = target.value / 100;
  stage.draw();
};
find("#divider").oninput = ({ target }) => {
  stage.compare = target.value / 100;
  stage.draw();
};
find("#size").oninput = ({ target }) => {
  desk?.resizeBrush(Math.exp((target.value / 100) * brushRange()));
};
for (const button of document.querySelectorAll("#tools [data-tool]")) {
  const key = TOOL_KEYS[button.dataset.tool].toUpperCase();
  button.title = `${button.getAttribute("aria-label")} (${key})`;
  button.setAttribute("aria-keyshortcuts", key);
  button.onclick = () => desk?.take(button.dataset.tool);
}
for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.onclick = () => {
    for (const other of document.querySelectorAll("[role=tab]")) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      find(`#${other.getAttribute("aria-controls")}`).hidden = !chosen;
    }
    second?.draw();
  };
  tab.onkeydown = ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = tab.nextElementSibling ?? tab.previousElementSibling;
    other.click();
    other.focus();
  };
}

// ---- the canvas -----------------------------------------------------------------------------

const pointers = new Map();
let dragged = null;

const onCanvas = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
};

const drags = (event) =>
  handHeld || event.button === 1 || desk?.name === "hand" || pointers.size > 1;

canvas.onpointerdown = (event) => {
  if (!stage) return;
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  cursor?.leave();
  const point = onCanvas(event);
  pointers.set(event.pointerId, point);
  if (drags(event)) {
    desk?.tool.cancel?.();
    dragged = point;
  } else if (event.button === 0) {
    if (chooser) chooser.down(stage.viewport.toPhoto(point));
    else desk?.tool.down?.(desk.inFrame(point), event);
  }
  event.preventDefault();
};

canvas.onpointermove = (event) => {
  // A mouse that rests reports itself when the page changes beneath it: the keyboard goes on.
  if (!stage || (cursor?.at && !event.movementX && !event.movementY)) return;
  const point = onCanvas(event);
  const before = pointers.get(event.pointerId);
  cursor?.leave();
  if (desk) desk.pointer = event.pointerType === "touch" && !before ? null : point;
  if (pointers.size === 2 && before) pinch(event.pointerId, point);
  else if (dragged) {
    stage.viewport.pan(point.x - dragged.x, point.y - dragged.y);
    dragged = point;
  } else if (chooser) chooser.move(stage.viewport.toPhoto(point));
  else if (desk) {
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const one of passed.length ? passed : [event]) {
      desk.tool.move?.(desk.inFrame(onCanvas(one)), one);
    }
    showUnder(point);
  }
  if (before) pointers.set(event.pointerId, point);
  stage.draw();
};

function pinch(id, point) {
  const [other] = [...pointers].filter(([key]) => key !== id).map(([, value]) => value);
  const before = pointers.get(id);
  const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
  stage.viewport.pan((point.x - before.x) / 2, (point.y - before.y) / 2);
  const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
  zoom(apart(point) / Math.max(1, apart(before)), middle);
}

canvas.onpointerup = canvas.onpointercancel = (event) => {
  pointers.delete(event.pointerId);
  if (dragged) {
    if (!pointers.size) dragged = null;
  } else if (chooser) chooser.up();
  else desk?.tool.up?.();
};

canvas.onpointerleave = () => {
  if (desk && !cursor.at) desk.pointer = null;
  stage?.draw();
};

canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    if (event.ctrlKey || !event.shiftKey) zoom(Math.exp(-event.deltaY / 400), onCanvas(event));
    else {
      stage?.viewport.pan(-event.deltaX - event.deltaY, 0);
      stage?.draw();
    }
  },
  { passive: false },
);

/** The question about a face that is open on a canvas, if there is one. */
const asking = (target) => (target === canvas ? chooser : second?.chooser);

/** Arrow keys on the canvas: what they do is the tool's affair. */
function arrow(dx, dy, { shiftKey: large, target }) {
  const asked = asking(target);
  if (asked) asked.nudge(dx, dy, large);
  else if (target !== canvas) return;
  else if (desk?.name === "move") desk.tool.nudge(...[dx, dy].map((step) => step * (large ? 10 : 1)));
  else if (desk?.name === "hand") {
    stage.viewport.pan(...[dx, dy].map((step) => -step * (large ? 120 : 24)));
    stage.draw();
  } else if (desk) {
    cursor.move(dx, dy, large);
    showUnder(cursor.at);
  }
}

function showUnder(point) {
  const index = desk.indexAt(desk.inFrame(point));
  const { labels, vocabulary } = desk.sheet;
  find("#under").textContent = index < 0 ? "" : vocabulary.name(labels[index]);
}

// ---- drop, keys, start ----------------------------------------------------------------------

const dropping = (on) => document.body.classList.toggle("dropping", on);
addEventListener("dragover", (event) => {
  event.preventDefault();
  dropping(event.dataTransfer.types.includes("Files"));
});
addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? dropping(false));
addEventListener("drop", (event) => {
  event.preventDefault();
  dropping(false);
  const [file] = event.dataTransfer.files;
  if (!file) return;
  if (desk && event.target.closest("#second")) second.bring(file);
  else openFile(file);
});

listen({
  tool: (name) => desk?.take(name),
  brush: (factor) => desk?.resizeBrush(desk.brush * factor),
  regions: toggleRegions,
  compare: toggleCompare,
  fitPhoto,
  fitFace,
  zoom,
  undo,
  redo,
  save: () => saving?.show(),
  open: async () => {
    const file = await chooseFile(`${PICTURES},${PROJECTS}`);
    if (file) openFile(file);
  },
  close: ({ target }) => {
    const asked = asking(target);
    if (asked) asked.take();
    else desk?.tool.close?.();
  },
  cancel: () => {
    cursor?.leave();
    desk?.tool.cancel?.();
  },
  arrow,
  space: (down) => {
    if (down && cursor?.at) {
      cursor.press();
      return;
    }
    handHeld = down;
    canvas.classList.toggle("held", down);
  },
  help: () => find("#help-dialog").showModal(),
});

async function start() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  await guarded(async () => {
    ({ samples } = await api.health());
  });
  const id = location.hash.slice(1);
  if (id) await openWith(() => api.load(id));
  if (!stage) await welcome.show();
}

start();
