// The open document as the page holds it: the server's facts, the labels, and the painted layer.
// Emits "facts", "labels" (detail: the changed box, or null for all) and "trouble".

import * as api from "./api.js";
import { Vocabulary } from "./vocabulary.js";

export class Sheet extends EventTarget {
  constructor(facts) {
    super();
    this.facts = facts;
    this.vocabulary = new Vocabulary(facts);
    this.side = 0;
    this.matrix = null;
    this.protected = new Set();
    this.saving = Promise.resolve();
  }

  get id() {
    return this.facts.id;
  }

  /** Fetch the face's frame: its geometry, the labels beneath the paint, and the painted layer. */
  async fetchFrame() {
    const { facts, data } = await api.frame(this.id);
    const { side, matrix, quad } = facts;
    Object.assign(this, { side, matrix, quad });
    this.beneath = data.slice(0, side * side);
    this.layer = data.slice(side * side);
    this.labels = new Uint8ClampedArray(side * side);
    this.refresh(null);
  }

  /** Work out the shown labels anew, within a box or everywhere. */
  refresh(box) {
    this.packing = null;
    const { side, vocabulary } = this;
    const { left, top, right, bottom } = box ?? { left: 0, top: 0, right: side, bottom: side };
    for (let y = top; y < bottom; y++) {
      for (let i = y * side + left; i < y * side + right; i++) {
        const painted = this.layer[i];
        this.labels[i] = painted === vocabulary.unpainted ? this.beneath[i] : painted;
      }
    }
    this.#emit("labels", box);
  }

  /** Whether a pixel may become another class. */
  free(index) {
    return !this.protected.has(this.labels[index]);
  }

  /** Paint the pixels in which `labels` differs from what is shown. */
  lay(labels) {
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] !== this.labels[i] && this.free(i)) this.layer[i] = labels[i];
    }
    this.refresh(null);
  }

  /** What the server shall show: the commands given, or the document's own, and this layer. */
  async draft(commands) {
    this.packing ??= packed(this.layer); // a stroke's end is asked for and saved: packed once
    return { commands: commands ?? null, layer: await this.packing };
  }

  /** Add what was painted as a step. Steps reach the server in the order they were made. */
  commit(label) {
    const draft = this.draft();
    return this.#queue(async () => {
      this.#take(await api.step(this.id, label, this.facts.position, await draft));
    });
  }

  /** Replace the commands as a step; the labels beneath the paint may change with them. */
  command(label, commands) {
    return this.#queue(async () => {
      const draft = { commands, layer: null };
      this.#take(await api.step(this.id, label, this.facts.position, draft));
      await this.fetchFrame();
    });
  }

  /** Show another state of the history. */
  jump(position) {
    return this.#queue(() => this.#show(position));
  }

  undo() {
    return this.#queue(() => this.#show(this.facts.position - 1));
  }

  redo() {
    return this.#queue(() => this.#show(this.facts.position + 1));
  }

  /** Bring a second picture in; return its key. */
  async bring(file, sample) {
    const facts = await (sample ? api.addSample(this.id, sample) : api.addPicture(this.id, file));
    const { added, ...rest } = facts;
    this.#take(rest);
    return added;
  }

  async #show(position) {
    if (position < 0 || position >= this.facts.steps.length) return;
    this.#take(await api.move(this.id, position));
    await this.fetchFrame();
  }

  #queue(work) {
    const done = this.saving.then(work);
    this.saving = done.catch((error) => this.#recover(error));
    return this.saving;
  }

  /** Say what went wrong, and go back to the state that the server has. */
  async #recover(error) {
    this.#emit("trouble", error);
    try {
      this.#take(await api.load(this.id));
      await this.fetchFrame();
    } catch {
      // the server is away: the first trouble has said so
    }
  }

  #take(facts) {
    Object.assign(this.facts, facts);
    this.#emit("facts", null);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Return bytes deflated and in base64. */
async function packed(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  const small = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = "";
  for (let i = 0; i < small.length; i += 8192) {
    text += String.fromCharCode(...small.subarray(i, i + 8192));
  }
  return btoa(text);
}
