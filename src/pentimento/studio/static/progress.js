// What the model is doing, once it takes longer than a moment; and the way to stop it.

import * as api from "./api.js";
import { find } from "./element.js";

const PATIENCE = 500; // ms before anything is shown
const POLL = 300;

const STAGES = {
  waiting: "Waiting", start: "Starting", decode: "Reading the picture", show: "Reading the picture",
  faces: "Looking for faces", see: "Seeing the face", regions: "Finding regions",
  open: "Opening", plan: "Planning", paint: "Painting", compose: "Composing", save: "Saving",
};

/** Run some work; show how it goes if it takes a while. */
export async function watched(work) {
  let timer = setTimeout(poll, PATIENCE);
  let done = false;
  async function poll() {
    try {
      const { job } = await api.health();
      if (done) return;
      const stage = job && (STAGES[job.stage] ?? job.stage);
      const text = job ? `${stage} · ${job.seconds.toFixed(0)} s` : "Starting the model";
      find("#progress-text").textContent = text;
      find("#progress").hidden = false;
    } catch {
      // the work itself reports what is wrong
    }
    if (!done) timer = setTimeout(poll, POLL);
  }
  try {
    return await work();
  } finally {
    done = true;
    clearTimeout(timer);
    find("#progress").hidden = true;
  }
}

find("#cancel").onclick = () => api.cancel();
