// Making elements. Text is always text: nothing that came from a file is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: properties, then children (elements or text). */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** One of the page's symbols. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export const find = (selector) => document.querySelector(selector);

/** Let a person choose a file; resolves to it, or to null. */
export function chooseFile(accept) {
  return new Promise((resolve) => {
    const input = element("input", { type: "file", accept });
    input.addEventListener("change", () => resolve(input.files[0] ?? null));
    input.addEventListener("cancel", () => resolve(null));
    input.click();
  });
}

export const PICTURES = ".jpg,.jpeg,.png,.webp,.tif,.tiff";
export const PROJECTS = ".pentimento";
