// The save dialogue.

import * as api from "./api.js";
import { element, find } from "./element.js";

const EXTENSIONS = { jpg: "JPEG", png: "PNG", webp: "WebP", tif: "TIFF" };

export class Saving {
  constructor(sheet, { guarded, say }) {
    Object.assign(this, { sheet, guarded, say });
    this.dialog = find("#save-dialog");
    const own = sheet.facts.photo.split(".").at(-1);
    find("#save-source-format").textContent = EXTENSIONS[own];
    this.dialog.onclose = () => {
      const what = this.dialog.returnValue;
      if (what && what !== "cancel") this.save(what);
    };
  }

  show() {
    this.dialog.returnValue = "";
    this.dialog.showModal();
  }

  save(what) {
    return this.guarded(async () => {
      await this.sheet.saving;
      const recipe = find("#save-recipe").checked;
      const { name, blob } = await api.save(this.sheet.id, what, recipe);
      const address = URL.createObjectURL(blob);
      element("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      this.say(`Saved ${name}`);
    });
  }
}
