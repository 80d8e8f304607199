"""What surfaces look like: skin, eyes, hair, cloth, metal, drawn from a seed.

Each look is a named tuple of plain numbers and arrays, so that the compiled shader can read it, and
has a function that draws one. Colours are linear RGB (..., 3) float64 unless a name says sRGB.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]
Rng = np.random.Generator

SKIN, EYE, TEETH, GUM, HAIR, BROW, BEARD, LASH, CLOTH, FRAME, METAL, HAT = range(12)
"""Materials: the shader's switch. HAIR to LASH are fibres and share one model."""

# Facial skin in daylight, pale to deep, sRGB 0..255; rows after the Monk scale, ruddier because
# that scale shows swatches, not living faces.
_TONES: Final = np.array(
    [
        (243, 212, 196), (238, 199, 178), (230, 187, 161), (219, 171, 141), (202, 150, 118),
        (178, 126, 95), (150, 102, 75), (120, 79, 58), (92, 60, 46), (68, 46, 38),
    ]
)  # fmt: skip
_HAIRS: Final = {
    "black": (30, 25, 23),
    "dark_brown": (48, 33, 25),
    "brown": (80, 54, 36),
    "light_brown": (122, 86, 56),
    "dark_blond": (158, 120, 76),
    "blond": (201, 165, 108),
    "platinum": (226, 208, 172),
    "auburn": (106, 48, 28),
    "red": (164, 78, 36),
    "grey": (152, 146, 138),
    "white": (214, 208, 198),
    "pink": (206, 92, 142),
    "blue": (54, 84, 150),
}
_DYES: Final = ("pink", "blue", "platinum", "auburn", "red")
_IRISES: Final = np.array(
    [(70, 44, 26), (92, 60, 34), (46, 30, 22), (104, 98, 58), (92, 112, 84), (84, 116, 142),
     (120, 146, 166), (112, 122, 128)]
)  # fmt: skip
_CLOTHES: Final = np.array(
    [(28, 30, 36), (44, 48, 58), (38, 52, 84), (96, 120, 158), (226, 224, 220), (196, 190, 180),
     (132, 38, 42), (170, 76, 60), (58, 84, 66), (104, 112, 76), (198, 160, 84), (120, 84, 120),
     (214, 172, 172), (72, 116, 128), (92, 70, 54), (240, 238, 232)]
)  # fmt: skip


def linear(srgb: Any) -> Colour:
    """Return linear RGB of sRGB values in 0..255."""
    c = np.asarray(srgb, np.float64) / 255
    return np.where(c <= 0.04045, c / 12.92, ((np.maximum(c, 0) + 0.055) / 1.055) ** 2.4)


class Brow(NamedTuple):
    """The shape of the eyebrows in the coordinates of `anatomy.skin_fields`.

    Attributes:
        start: u of the inner end.
        end: u of the outer end.
        thickness: half of it at its widest, in v.
        arch: how far the middle rises, in v.
        tilt: how far the outer end rises over the inner, in v.
        density: 0..1, of hairs and of the tint under them.
    """

    start: float
    end: float
    thickness: float
    arch: float
    tilt: float
    density: float


def sample_brow(rng: Rng, female: bool) -> Brow:
    """Draw a brow's shape."""
    thickness = rng.uniform(0.35, 0.75) if female else rng.uniform(0.5, 0.95)
    return Brow(
        start=float(rng.uniform(-0.08, 0.08)),
        end=float(rng.uniform(0.9, 1.1)),
        thickness=float(thickness),
        arch=float(rng.uniform(-0.1, 0.5)),
        tilt=float(rng.uniform(-0.5, 0.4)),
        density=float(rng.uniform(0.35, 1.0)),
    )


class Skin(NamedTuple):
    """Skin and its make-up.

    Attributes:
        albedo: of the cheek.
        flush: multiplies the albedo where blood is near: cheeks, nose, ears.
        lips: albedo of the lips.
        scatter: how far each colour wraps round the terminator, 0..1.
        mottle: strength of blotches.
        freckles: 0..1.
        moles: 0..1.
        pores: normal noise.
        wrinkles: 0..1.
        gloss: strength of the shine.
        lip_gloss: strength of the shine of the lips.
        stubble: 0..1, shaved hair in the beard area.
        stubble_colour: what the area is tinted with.
        shadow: eye shadow's strength, 0 for none.
        shadow_colour: eye shadow's colour.
        liner: 0..1, dark rims of the lids: lash roots or a drawn line.
        tired: 0..1, dark under the eyes.
        scalp: 0..1, cropped hair on the scalp.
        brow: the eyebrows' shape.
    """

    albedo: Colour
    flush: Colour
    lips: Colour
    scatter: Colour
    mottle: float
    freckles: float
    moles: float
    pores: float
    wrinkles: float
    gloss: float
    lip_gloss: float
    stubble: float
    stubble_colour: Colour
    shadow: float
    shadow_colour: Colour
    liner: float
    tired: float
    scalp: float
    brow: Brow


def sample_skin(rng: Rng, tone: float, age: float, female: bool, hair: Colour) -> Skin:
    """Draw a skin.

    Args:
        rng: where chance comes from.
        tone: 0 pale .. 1 deep.
        age: years.
        female: decides how often there is make-up or stubble.
        hair: colour of the hair, for stubble.
    """
    place = tone * (len(_TONES) - 1)
    low = min(int(place), len(_TONES) - 2)
    srgb = _TONES[low] + (place - low) * (_TONES[low + 1] - _TONES[low])
    under = rng.normal(0, 1)  # cool pink .. warm olive
    srgb = srgb * (1 + under * np.array([-0.008, 0.012, -0.03])) * rng.uniform(0.97, 1.03)
    albedo = linear(np.clip(srgb, 0, 250))
    redness = rng.uniform(0.5, 1.0) * (1 - 0.45 * tone)
    flush = np.array([1.0 - 0.10 * redness, 1 - 0.42 * redness, 1 - 0.38 * redness])
    natural = albedo * np.array([0.82, 0.50, 0.52]) * (1 - 0.12 * tone)
    made_up = female and rng.random() < 0.55
    stick = linear(
        [(168, 40, 52), (190, 84, 92), (140, 36, 60), (204, 110, 104), (150, 76, 70)][
            int(rng.integers(5))
        ]
    ) * (1 - 0.35 * tone)
    strength = rng.uniform(0.25, 0.75) if made_up else 0.0
    lips = natural + strength * (stick - natural)
    shadowed = made_up and rng.random() < 0.6
    stubbly = not female and age > 17
    stubble = float(rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.0)]))
    freckles = float(max(0.0, rng.normal(-0.25, 0.5))) * (1 - tone) ** 1.5
    old = float(np.clip((age - 28) / 45, 0, 1))
    brow = sample_brow(rng, female)
    return Skin(
        albedo=albedo,
        flush=flush,
        lips=lips,
        scatter=np.array([0.42, 0.20, 0.14]) * (1 - 0.3 * tone),
        mottle=float(rng.uniform(0.06, 0.14) + 0.08 * old),
        freckles=min(freckles, 1.0),
        moles=float(rng.uniform(0, 1)),
        pores=float(rng.uniform(0.05, 0.12) + 0.06 * old) * (0.7 if made_up else 1.0),
        wrinkles=old * float(rng.uniform(0.5, 1.0)),
        gloss=float(rng.uniform(0.35, 1.0)),
        lip_gloss=float(rng.uniform(0.8, 2.2) if made_up else rng.uniform(0.3, 0.9)),
        stubble=stubble if stubbly else 0.0,
        stubble_colour=hair * 0.6 + 0.02,
        shadow=float(rng.uniform(0.2, 0.65)) if shadowed else 0.0,
        shadow_colour=linear([(92, 62, 60), (70, 62, 74), (120, 78, 66)][int(rng.integers(3))]),
        liner=float(rng.uniform(0.6, 0.95)) if made_up else float(rng.uniform(0.2, 0.5)),
        tired=float(rng.uniform(0, 0.6) + 0.4 * old) * (0.4 if made_up else 1.0),
        scalp=0.0,
        brow=brow,
    )


class Eyes(NamedTuple):
    """Two eyes; rows of (2, 3) arrays: the subject's left, the subject's right.

    Attributes:
        centre: of the eyeballs, posed.
        gaze: unit vectors.
        iris: colour of the iris.
        inner: colour round the pupil.
        sclera: colour of the white.
        iris_angle: half the iris's opening, radians.
        pupil: its radius as a part of the iris's.
        ring: strength of the dark limbal ring.
        seed: shifts the fibres.
    """

    centre: Colour
    gaze: Colour
    iris: Colour
    inner: Colour
    sclera: Colour
    iris_angle: float
    pupil: float
    ring: float
    seed: float


def sample_eyes(rng: Rng, tone: float, centre: Colour, gaze: Colour) -> Eyes:
    """Draw eyes; deep skins nearly always have brown ones."""
    brown = rng.random() < 0.3 + 1.6 * tone
    iris = linear(_IRISES[int(rng.integers(3) if brown else rng.integers(2, len(_IRISES)))])
    return Eyes(
        centre=centre,
        gaze=gaze,
        iris=iris * rng.uniform(0.85, 1.25),
        inner=iris * np.array([1.7, 1.25, 0.7]),
        sclera=linear([222, 214, 208]) * rng.uniform(0.82, 1.0),
        iris_angle=float(rng.uniform(0.445, 0.495)),
        pupil=float(rng.uniform(0.30, 0.48)),
        ring=float(rng.uniform(0.4, 0.85)),
        seed=float(rng.uniform(0, 30)),
    )


class Fibres(NamedTuple):
    """Hair of four kinds; rows are HAIR, BROW, BEARD, LASH.

    Attributes:
        colour: (4, 3) mean colour.
        root: (4,) how dark the roots are, 1 = not at all.
        vary: (4,) difference from strand to strand.
        grey: (4,) share of white strands.
        shine: (4,) strength of the highlights.
        curl: how wavy the strand texture of the hair's surface is.
    """

    colour: Colour
    root: Colour
    vary: Colour
    grey: Colour
    shine: Colour
    curl: float


def sample_hair_colour(rng: Rng, tone: float, age: float) -> tuple[str, Colour, float]:
    """Draw a hair colour: its name, linear RGB and the share of white strands."""
    grey = float(np.clip(rng.normal((age - 54) / 24, 0.22), 0, 1)) if age > 36 else 0.0
    if age < 45 and rng.random() < 0.05:
        name = _DYES[int(rng.integers(len(_DYES)))]
    elif grey > 0.85:
        name = "white" if rng.random() < 0.4 else "grey"
    elif rng.random() < np.clip(1.7 * (tone - 0.17), 0.06, 0.95):
        name = "black" if rng.random() < 0.6 else "dark_brown"
    else:
        names = ["dark_brown", "brown", "light_brown", "dark_blond", "blond", "auburn", "red"]
        name = str(rng.choice(names, p=[0.24, 0.24, 0.16, 0.12, 0.12, 0.06, 0.06]))
    return name, linear(_HAIRS[name]) * rng.uniform(0.8, 1.2), min(grey, 0.85)


def sample_fibres(rng: Rng, hair: Colour, grey: float, made_up: bool) -> Fibres:
    """Draw the four kinds of hair from the colour of the first."""
    brow = np.minimum(hair, linear((110, 80, 56))) * rng.uniform(0.45, 0.8)
    beard = hair * rng.uniform(0.55, 0.95) * np.array([1.1, 0.98, 0.92])
    lash = np.full(3, 0.008) if made_up else np.minimum(hair * 0.35, 0.02)
    return Fibres(
        colour=np.stack([hair, brow, beard, lash]),
        root=np.array([rng.uniform(0.5, 0.9), 1.0, 0.9, 1.0]),
        vary=np.array([rng.uniform(0.10, 0.26), 0.25, 0.35, 0.1]),
        grey=np.array([grey, 0.5 * grey, min(1.0, 1.2 * grey), 0.0]),
        shine=np.array([rng.uniform(0.5, 1.3), 0.25, 0.3, 0.1]),
        curl=float(rng.uniform(0, 1)),
    )


class Fabric(NamedTuple):
    """Cloth or felt.

    Attributes:
        colour: main colour.
        second: colour of the pattern.
        pattern: 0 plain, 1 horizontal stripes, 2 vertical stripes, 3 checks, 4 dots, 5 melange.
        pitch: size of the pattern, decimetres.
        weave: strength of the surface.
        sheen: strength of the soft shine.
    """

    colour: Colour
    second: Colour
    pattern: int
    pitch: float
    weave: float
    sheen: float


def sample_fabric(rng: Rng) -> Fabric:
    """Draw a fabric; half of all are plain."""
    pair = _CLOTHES[rng.choice(len(_CLOTHES), 2, replace=False)]
    return Fabric(
        colour=linear(pair[0]) * rng.uniform(0.8, 1.1),
        second=linear(pair[1]),
        pattern=int(rng.choice(6, p=[0.42, 0.13, 0.09, 0.1, 0.06, 0.2])),
        pitch=float(rng.uniform(0.06, 0.3)),
        weave=float(rng.uniform(0.05, 0.3)),
        sheen=float(rng.uniform(0.0, 0.5)),
    )


class Trim(NamedTuple):
    """Glasses and jewellery.

    Attributes:
        frame: colour of the frame.
        frame_shine: strength of its highlight.
        tortoise: 0..1, brown spots on the frame.
        metal: colour of earrings and necklace.
        lens: colour that passes the lens.
        lens_depth: 0 clear .. 1 sunglasses; above 0.6 the eyes are not seen.
    """

    frame: Colour
    frame_shine: float
    tortoise: float
    metal: Colour
    lens: Colour
    lens_depth: float


def sample_trim(rng: Rng) -> Trim:
    """Draw glasses and jewellery; one pair of glasses in six is dark."""
    frames = [
        (18, 18, 20),
        (60, 36, 22),
        (140, 110, 60),
        (120, 122, 126),
        (96, 28, 32),
        (30, 44, 70),
    ]
    kind = int(rng.choice(len(frames), p=[0.36, 0.2, 0.14, 0.16, 0.07, 0.07]))
    metals = [(212, 168, 84), (200, 202, 206), (222, 160, 132), (236, 232, 222)]
    dark = rng.random() < 0.16
    tints = [(60, 60, 62), (84, 62, 44), (52, 66, 60)]
    return Trim(
        frame=linear(frames[kind]),
        frame_shine=float(rng.uniform(0.3, 1.0)),
        tortoise=1.0 if kind == 1 and rng.random() < 0.7 else 0.0,
        metal=linear(metals[int(rng.choice(4, p=[0.4, 0.35, 0.1, 0.15]))]),
        lens=linear(tints[int(rng.integers(3))]) if dark else np.array([0.95, 0.97, 0.96]),
        lens_depth=float(rng.uniform(0.84, 0.98)) if dark else float(rng.uniform(0.0, 0.12)),
    )
