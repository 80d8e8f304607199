// What a person calls the classes, and the colours they are shown in.

const NAMES = {
  background: "Background", skin: "Skin", nose: "Nose", eye_g: "Glasses", l_eye: "Left eye",
  r_eye: "Right eye", l_brow: "Left brow", r_brow: "Right brow", l_ear: "Left ear",
  r_ear: "Right ear", mouth: "Mouth", u_lip: "Upper lip", l_lip: "Lower lip", hair: "Hair",
  hat: "Hat", ear_r: "Earring", neck_l: "Necklace", neck: "Neck", cloth: "Clothes",
};

const COLOURS = {
  background: [148, 156, 168], skin: [244, 184, 148], nose: [226, 139, 110],
  eye_g: [96, 125, 156], l_eye: [72, 170, 228], r_eye: [58, 122, 214], l_brow: [152, 120, 86],
  r_brow: [120, 92, 66], l_ear: [236, 158, 196], r_ear: [206, 120, 168], mouth: [132, 40, 62],
  u_lip: [236, 96, 116], l_lip: [206, 60, 92], hair: [132, 102, 220], hat: [44, 168, 148],
  ear_r: [242, 200, 70], neck_l: [206, 166, 44], neck: [188, 202, 104], cloth: [82, 164, 110],
};

// The order of the list: from the top of the head downwards, pairs side by side.
const ORDER = [
  "hair", "hat", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "nose", "l_ear", "r_ear",
  "ear_r", "skin", "u_lip", "l_lip", "mouth", "neck", "neck_l", "cloth", "background",
];

// Class → the region that is taken from another picture when a person points at it.
const BORROWED = {
  skin: "skin", nose: "nose", eye_g: "glasses", l_eye: "eyes", r_eye: "eyes", l_brow: "brows",
  r_brow: "brows", l_ear: "ears", r_ear: "ears", mouth: "mouth", u_lip: "mouth", l_lip: "mouth",
  hair: "hair", hat: "hat", neck: "neck", cloth: "clothes",
};

const TOGETHER = [["mouth", "u_lip", "l_lip"]];

/** The classes of the label set the server uses, with everything the page shows of them. */
export class Vocabulary {
  constructor({ classes, regions, mirrored, unpainted }) {
    this.classes = classes;
    this.regions = regions;
    this.mirrored = mirrored;
    this.unpainted = unpainted;
    this.colours = classes.map((name) => COLOURS[name]);
    this.order = ORDER.map((name) => classes.indexOf(name));
  }

  name(value) {
    return NAMES[this.classes[value]];
  }

  css(value) {
    return `rgb(${this.colours[value].join(" ")})`;
  }

  /** The region of `labels.REGIONS` that a class is borrowed with, or undefined. */
  borrowed(value) {
    return BORROWED[this.classes[value]];
  }

  /** The region that can be mirrored onto a class, or undefined. */
  mirrorOf(value) {
    return this.mirrored.find((region) => this.regions[region].includes(value));
  }

  /** All classes that move when one of them is moved. */
  movedWith(value) {
    const group = TOGETHER.find((names) => names.includes(this.classes[value]));
    return group ? group.map((name) => this.classes.indexOf(name)) : [value];
  }
}

/** A region's name in a sentence: left_eye → left eye. */
export const spoken = (region) => region.replaceAll("_", " ");
