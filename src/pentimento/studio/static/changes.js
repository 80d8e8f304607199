// What was changed: the commands in force, each with its amount, and the history of all states.

import { element, find, icon } from "./element.js";
import { spoken } from "./vocabulary.js";

const VERBS = { swap: "taken from", restyle: "styled like", mirror: "mirrored" };

export class Changes {
  constructor(desk, { preview }) {
    this.desk = desk;
    this.preview = preview;
    desk.sheet.addEventListener("facts", () => this.show());
    this.show();
  }

  show() {
    this.#showCommands();
    this.#showHistory();
  }

  #showCommands() {
    const { commands, pictures } = this.desk.sheet.facts;
    find("#commands").replaceChildren(
      ...commands.map((command, index) => {
        const source = pictures[command.other ?? command.reference] ?? "";
        const text = `${capital(spoken(command.region))} ${VERBS[command.verb]} ${source}`;
        const looks = { type: "button", className: "quiet", title: "Remove" };
        const remove = element("button", looks, icon("close"));
        remove.setAttribute("aria-label", `Remove: ${text}`);
        remove.onclick = () =>
          this.#replace(`Remove ${spoken(command.region)}`, commands.filter((_, i) => i !== index));
        const what = element("span", { className: "what" }, text);
        const row = element("li", { className: "command" }, what, remove);
        if (command.verb !== "mirror") row.append(this.#amount(index, text));
        return row;
      }),
    );
    find("#no-commands").hidden = commands.length > 0;
  }

  /** The slider between the own region and the other's. */
  #amount(index, text) {
    const { sheet } = this.desk;
    const { amount } = sheet.facts.commands[index];
    const value = Math.round(100 * amount);
    const slider = element("input", { type: "range", min: 0, max: 100, value });
    slider.setAttribute("aria-label", `How much: ${text}`);
    const changed = () =>
      sheet.facts.commands.map((c, i) => (i === index ? { ...c, amount: slider.value / 100 } : c));
    slider.oninput = () => this.preview(changed());
    const { region } = sheet.facts.commands[index];
    slider.onchange = () => this.#replace(`Blend ${spoken(region)}`, changed());
    return element(
      "label", { className: "blend" }, element("span", {}, "own"), slider, element("span", {}, "other"),
    );
  }

  async #replace(label, commands) {
    await this.desk.sheet.command(label, commands);
    this.desk.previewer.ask();
  }

  #showHistory() {
    const { steps, position } = this.desk.sheet.facts;
    const list = find("#history");
    list.replaceChildren(
      ...steps.map((label, index) => {
        const button = element("button", { type: "button" }, label);
        if (index === position) button.setAttribute("aria-current", "step");
        button.classList.toggle("undone", index > position);
        button.onclick = async () => {
          await this.desk.sheet.jump(index);
          this.desk.previewer.ask();
        };
        return element("li", {}, button);
      }),
    );
    list.children[position]?.scrollIntoView({ block: "nearest" });
    find("#undo").disabled = position === 0;
    find("#redo").disabled = position === steps.length - 1;
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
