// The list of regions: choose one to paint with, hide it, protect it; and what can be done to it.

import { element, find, icon } from "./element.js";

export class Regions {
  constructor(desk, { change }) {
    this.desk = desk;
    this.change = change;
    this.rows = new Map();
    const list = find("#regions");
    list.replaceChildren(...desk.sheet.vocabulary.order.map((value) => this.#row(value)));
    desk.addEventListener("chosen", () => this.update());
    desk.sheet.addEventListener("labels", () => this.#countSoon());
    find("#smooth-region").onclick = () => desk.tools.smooth.apply(desk.chosen);
    find("#mirror-region").onclick = () => this.#mirror();
    find("#reset-region").onclick = () => this.#reset();
    this.#count();
    this.update();
  }

  #row(value) {
    const { sheet, stage } = this.desk;
    const { vocabulary } = sheet;
    const name = vocabulary.name(value);
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = vocabulary.css(value);
    const choose = element(
      "button", { className: "region-name", type: "button", title: `Paint with ${name}` },
      swatch, element("span", {}, name),
    );
    choose.onclick = () => this.desk.choose(value);
    const toggle = (mark, title, set, after) => {
      const looks = { className: `region-${mark}`, type: "button", title: `${title} ${name}` };
      const button = element("button", { ...looks, "aria-pressed": "false" }, icon(mark));
      button.setAttribute("aria-label", `${title} ${name}`);
      button.onclick = () => {
        const on = !set.has(value);
        if (on) set.add(value);
        else set.delete(value);
        button.setAttribute("aria-pressed", String(on));
        after();
      };
      return button;
    };
    const hide = toggle("eye", "Hide", stage.hidden, () => stage.showLabels(sheet, null));
    const lock = toggle("lock", "Protect", sheet.protected, () => {});
    const row = element("li", { className: "region" }, choose, lock, hide);
    this.rows.set(value, { row, choose });
    return row;
  }

  /** Show which region is chosen, and what can be done to it. */
  update() {
    const { chosen, sheet } = this.desk;
    for (const [value, { row, choose }] of this.rows) {
      row.classList.toggle("chosen", value === chosen);
      choose.setAttribute("aria-pressed", String(value === chosen));
    }
    find("#chosen-name").textContent = sheet.vocabulary.name(chosen);
    find("#chosen-swatch").style.background = sheet.vocabulary.css(chosen);
    find("#mirror-region").disabled = !sheet.vocabulary.mirrorOf(chosen);
  }

  #countSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#count(), 150);
  }

  /** Dim the regions that the face does not have. */
  #count() {
    const present = new Set(this.desk.sheet.labels);
    for (const [value, { row }] of this.rows) row.classList.toggle("absent", !present.has(value));
  }

  #mirror() {
    const { chosen, sheet } = this.desk;
    const region = sheet.vocabulary.mirrorOf(chosen);
    if (!region) return;
    this.change(`Mirror ${sheet.vocabulary.name(chosen)}`, { verb: "mirror", region });
  }

  /** Take the paint away from the chosen region. */
  #reset() {
    const { chosen, sheet } = this.desk;
    const { unpainted } = sheet.vocabulary;
    let any = false;
    for (let i = 0; i < sheet.layer.length; i++) {
      if (sheet.layer[i] === unpainted) continue;
      if (sheet.layer[i] === chosen || sheet.beneath[i] === chosen) {
        sheet.layer[i] = unpainted;
        any = true;
      }
    }
    if (!any) return;
    sheet.refresh(null);
    this.desk.finish(`Reset ${sheet.vocabulary.name(chosen)}`);
  }
}
