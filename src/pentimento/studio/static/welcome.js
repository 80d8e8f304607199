// Before a document is open: drop a photo, take a sample, or go on where you left off.

import * as api from "./api.js";
import { PICTURES, PROJECTS, chooseFile, element, find, icon } from "./element.js";

export class Welcome {
  constructor({ open, guarded }) {
    this.open = open;
    this.guarded = guarded;
    find("#choose").onclick = async () => {
      const file = await chooseFile(`${PICTURES},${PROJECTS}`);
      if (file) this.open(() => api.open(file));
    };
  }

  async show() {
    find("#welcome").hidden = false;
    await this.guarded(async () => {
      const [{ samples }, documents] = await Promise.all([api.health(), api.documents()]);
      this.#showSamples(samples);
      this.#showDocuments(documents);
    });
  }

  hide() {
    find("#welcome").hidden = true;
  }

  #showSamples(samples) {
    find("#samples").replaceChildren(
      ...samples.map((name) => {
        const title = `Open the sample ${name.split(".")[0]}`;
        const picture = element("img", { src: api.sampleAddress(name), alt: "" });
        const button = element("button", { type: "button", className: "sample", title }, picture);
        button.setAttribute("aria-label", title);
        button.onclick = () => this.open(() => api.openSample(name));
        return button;
      }),
    );
  }

  #showDocuments(documents) {
    find("#unfinished").hidden = documents.length === 0;
    find("#documents").replaceChildren(
      ...documents.map(({ id, name, edits, minutes }) => {
        const go = element(
          "button", { type: "button", className: "go-on", value: id },
          element("strong", {}, name),
          element("span", {}, `${counted(edits)}, ${ago(minutes)}`),
        );
        go.onclick = () => this.open(() => api.load(id));
        const looks = { type: "button", className: "quiet", title: "Delete" };
        const remove = element("button", looks, icon("close"));
        remove.setAttribute("aria-label", `Delete ${name}`);
        remove.onclick = async () => {
          const question = `Delete the edits of ${name}? The photo itself stays where it is.`;
          if (!window.confirm(question)) return;
          await this.guarded(() => api.discard(id));
          await this.show();
        };
        return element("li", {}, go, remove);
      }),
    );
  }
}

const counted = (edits) => ["not edited yet", "1 edit"][edits] ?? `${edits} edits`;

function ago(minutes) {
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h ago`;
  return `${Math.round(minutes / 1440)} days ago`;
}
