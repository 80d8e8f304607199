"""The compiled shader: from the nearest triangle of every sample to its colour and its class.

Diffuse light wraps round the terminator, red furthest, as under skin; gloss is two Blinn-Phong
lobes under a Fresnel term; hair follows Kajiya and Kay (1989) with the shifted second highlight of
Marschner et al. (2003); eyes have a cornea that mirrors lamps as soft boxes.

Alphabet: H, W samples; V vertices; T triangles.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world import textures as tx
from pentimento.world.light import (
    Doubles,
    Floats,
    Lights,
    Vec,
    Vecs,
    dot,
    lit,
    normed,
    plus,
    surroundings,
)  # fmt: skip
from pentimento.world.materials import (
    CLOTH,
    EYE,
    FRAME,
    GUM,
    HAIR,
    HAT,
    LASH,
    SKIN,
    TEETH,
    Eyes,
    Fabric,
    Fibres,
    Skin,
    Trim,
)  # fmt: skip

ALONG, BROW_U, BROW_V, HAIRLINE = tx.ALONG, tx.BROW_U, tx.BROW_V, tx.HAIRLINE
LIPS, STRAND, COUNT = tx.LIPS, tx.STRAND, len(tx.FIELDS)
clamp, step, noise, brow_weight = tx.clamp, tx.step, tx.noise, tx.brow_weight


class Surface(NamedTuple):
    """Everything that is drawn, as one mesh.

    Attributes:
        position: (V, 3) posed.
        rest: (V, 3) before posing; patterns stick to it.
        normal: (V, 3) unit.
        tangent: (V, 3) unit, along fibres; zero elsewhere.
        light: (V, 3) baked irradiance of the surroundings.
        fields: (V, 13), columns as in `textures.FIELDS`.
        triangles: (T, 3).
        uv: (T, 3, 2).
        material: (T,).
    """

    position: Floats
    rest: Floats
    normal: Floats
    tangent: Floats
    light: Floats
    fields: Floats
    triangles: NDArray[np.int32]
    uv: Floats
    material: NDArray[np.uint8]


class Looks(NamedTuple):
    """What everything is made of: see `materials`; give the shader `light.frozen` ones."""

    skin: Skin
    eyes: Eyes
    fibres: Fibres
    cloth: Fabric
    hat: Fabric
    trim: Trim


class _Response(NamedTuple):
    """How a place answers light.

    Attributes:
        wrap: how far each colour wraps round the terminator.
        relief: strength of the bumps.
        gloss, sharp: strength and exponent of the narrow highlight.
        haze, broad: strength and exponent of the wide one.
        base: reflectance at right angles.
        mirror: strength of mirrored surroundings.
        iris: 1 inside the iris of an eye.
    """

    wrap: Vec
    relief: float
    gloss: float
    sharp: float
    haze: float
    broad: float
    base: float
    mirror: float
    iris: float


@njit(cache=True, nogil=True)
def _mix(values: Floats, corners: NDArray[np.int32], a: float, b: float) -> Vec:
    """Return vertex vectors interpolated with weights a, b and the rest."""
    i, j, k = corners[0], corners[1], corners[2]
    c = 1 - a - b
    return (
        a * values[i, 0] + b * values[j, 0] + c * values[k, 0],
        a * values[i, 1] + b * values[j, 1] + c * values[k, 1],
        a * values[i, 2] + b * values[j, 2] + c * values[k, 2],
    )


@njit(cache=True, nogil=True)
def classify(
    triangle: NDArray[np.int32], weights: Floats, surface: Surface, classes: NDArray[np.uint8],
    skin: Skin, brows: NDArray[np.uint8], hair: int, out: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Write the class (H, W) of every covered sample: its triangle's, or brow or cropped hair.

    Args:
        triangle: (H, W), with `weights` as in `raster.Layer`.
        weights: (H, W, 2).
        surface: what was drawn.
        classes: (T,) of the triangles.
        skin: its brow and scalp decide where skin counts as brow or hair.
        brows: classes of the subject's left and right brow.
        hair: class of hair.
        out: (H, W), written where something is.
    """
    fields = surface.fields
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            t = triangle[row, column]
            if t < 0:
                continue
            out[row, column] = classes[t]
            if surface.material[t] != SKIN:
                continue
            i, j, k = surface.triangles[t]
            a, b = weights[row, column, 0], weights[row, column, 1]
            c = 1 - a - b
            u = a * fields[i, BROW_U] + b * fields[j, BROW_U] + c * fields[k, BROW_U]
            v = a * fields[i, BROW_V] + b * fields[j, BROW_V] + c * fields[k, BROW_V]
            line = a * fields[i, HAIRLINE] + b * fields[j, HAIRLINE] + c * fields[k, HAIRLINE]
            if brow_weight(skin.brow, u, v) > 0.4:
                out[row, column] = brows[0] if surface.rest[i, 0] > 0 else brows[1]
            elif line > 0.05 and skin.scalp > 0.5:
                out[row, column] = hair


@njit(cache=True, nogil=True)
def _respond(
    material: int, looks: Looks, table: Floats, p: Vec, f: Doubles, u: float, v: float,
    albedo: Doubles,
) -> _Response:  # fmt: skip
    """Write the albedo at rest position p, and return how the place answers light."""
    if material == SKIN:
        skin = looks.skin
        tx.skin_albedo(skin, looks.fibres, table, p, f, albedo)
        lips = clamp(f[LIPS], 0.0, 1.0)
        wrap = (skin.scatter[0], skin.scatter[1], skin.scatter[2])
        gloss = 0.45 * skin.gloss + lips * (0.8 * skin.lip_gloss - 0.45 * skin.gloss)
        return _Response(
            wrap, skin.pores * (1 - 0.3 * lips), gloss, 26.0 + 40 * lips, 1.2 * skin.gloss, 9.0,
            0.028, 0.35, 0.0,
        )  # fmt: skip
    if material == EYE:
        iris = tx.eye_albedo(looks.eyes, int(f[STRAND] + 0.5), table, 2 * u - 1, 2 * v - 1, albedo)
        return _Response((0.3, 0.22, 0.2), 0.0, 0.0, 60.0, 0.0, 14.0, 0.05, 1.0, iris)
    if HAIR <= material <= LASH:
        tx.fibre_albedo(looks.fibres, material - HAIR, table, f[STRAND], f[ALONG], u, v, albedo)
        return _Response((0.0, 0.0, 0.0), 0.0, 0.0, 60.0, 0.0, 14.0, 0.0, 0.0, 0.0)
    if material in (CLOTH, HAT):
        cloth = looks.cloth if material == CLOTH else looks.hat
        tx.fabric_albedo(cloth, table, p, albedo)
        return _Response(
            (0.0, 0.0, 0.0), 0.2 * cloth.weave, 0.0, 60.0, 2.0 * cloth.sheen, 6.0, 0.028, 0.0, 0.0
        )
    if material == TEETH:
        albedo[0], albedo[1], albedo[2] = 0.66, 0.60, 0.50
        return _Response((0.3, 0.3, 0.25), 0.0, 2.0, 90.0, 0.0, 14.0, 0.028, 1.0, 0.0)
    if material == GUM:
        albedo[0], albedo[1], albedo[2] = 0.30, 0.085, 0.075
        return _Response((0.0, 0.0, 0.0), 0.0, 1.0, 60.0, 0.0, 14.0, 0.028, 1.0, 0.0)
    trim = looks.trim
    if material == FRAME:
        spots = trim.tortoise * step(-0.1, 0.4, noise(table, 9 * p[0], 9 * p[1], 9 * p[2])[0])
        for c in range(3):
            albedo[c] = trim.frame[c] * (1 + spots * (4.0 - 1.5 * c))
        shine = 2.5 * trim.frame_shine
        return _Response((0.0, 0.0, 0.0), 0.0, shine, 90.0, 0.0, 14.0, 0.04, 0.5, 0.0)
    for c in range(3):
        albedo[c] = 0.25 * trim.metal[c]
    return _Response((0.0, 0.0, 0.0), 0.0, 1.6, 70.0, 0.5, 14.0, 0.7, 1.0, 0.0)


@njit(cache=True, nogil=True)
def _roughen(normal: Vec, relief: float, table: Floats, p: Vec) -> Vec:
    """Return the normal tilted by noise of two grains."""
    if relief <= 0:
        return normal
    fine = noise(table, 52 * p[0], 52 * p[1], 52 * p[2])
    wide = noise(table, 17 * p[0], 17 * p[1], 17 * p[2])
    return plus(plus(normal, 0.7 * relief, fine), 0.8 * relief, wide)


@njit(cache=True, nogil=True)
def _light_solid(
    answer: _Response, lights: Lights, albedo: Doubles, n: Vec, view: Vec, p: Vec, dim: float,
    out: Doubles,
) -> None:  # fmt: skip
    """Add what lamps do to a surface."""
    for lamp in range(len(lights.direction)):
        if lights.colour[lamp][1] <= 0.0:
            continue
        to = lights.direction[lamp]
        cosine = dot(n, to)
        if cosine <= -answer.wrap[0]:
            continue
        share = lit(lights, lamp, plus(p, 0.02, n)) * dim
        if share <= 0.0:
            continue
        lobes = 0.0
        if cosine > 0 and answer.gloss + answer.haze > 0:
            middle = normed(plus(to, 1.0, view))
            half = max(dot(n, middle), 0.0)
            fresnel = answer.base + (1 - answer.base) * (1 - max(dot(view, middle), 0.0)) ** 5
            lobes = answer.gloss * (answer.sharp + 2) / 8 * half**answer.sharp
            lobes += answer.haze * (answer.broad + 2) / 8 * half**answer.broad
            lobes *= fresnel * cosine * share
        for c in range(3):
            # Red bleeds furthest past the terminator and into the shadow's edge.
            wrap = answer.wrap[c]
            body = max(cosine + wrap, 0.0) / (1 + wrap) * share ** (1 - 0.7 * wrap)
            out[c] += lights.colour[lamp][c] * (albedo[c] * body + lobes)


@njit(cache=True, nogil=True)
def _light_fibre(
    shine: float, strand: float, lights: Lights, albedo: Doubles, n: Vec, along: Vec, view: Vec,
    p: Vec, out: Doubles,
) -> None:  # fmt: skip
    """Add what lamps do to hair: a body and a white and a coloured highlight."""
    streak = 0.5 + strand if strand >= 0 else 1.0
    for lamp in range(len(lights.direction)):
        if lights.colour[lamp][1] <= 0.0:
            continue
        to = lights.direction[lamp]
        share = lit(lights, lamp, plus(p, 0.02, n))
        if share <= 0.0:
            continue
        cosine, across = dot(n, to), dot(along, to)
        tilt = dot(along, normed(plus(to, 1.0, view)))
        body = 0.9 * np.sqrt(max(1 - across * across, 0.0)) * clamp(0.35 + 0.65 * cosine, 0.0, 1.0)
        gate = clamp(0.25 + cosine, 0.0, 1.0) * shine
        first = 0.06 * streak * gate * max(1 - (tilt + 0.06) ** 2, 0.0) ** 60
        second = 1.1 * gate * max(1 - (tilt - 0.11) ** 2, 0.0) ** 14
        for c in range(3):
            out[c] += lights.colour[lamp][c] * share * (albedo[c] * (body + second) + first)


@njit(cache=True, nogil=True)
def _reflect(n: Vec, view: Vec) -> Vec:
    """Return the direction that is mirrored towards the viewer."""
    return plus((-view[0], -view[1], -view[2]), 2 * dot(n, view), n)


@njit(cache=True, nogil=True)
def _mirror(
    share: float, answer: _Response, sky: Vecs, n: Vec, view: Vec, metal: Doubles, out: Doubles
) -> None:
    """Add mirrored surroundings, tinted by metals."""
    if answer.mirror <= 0:
        return
    mirrored = surroundings(sky, _reflect(n, view)[1])
    fresnel = answer.base + (1 - answer.base) * (1 - max(dot(n, view), 0.0)) ** 5
    for c in range(3):
        tint = metal[c] if answer.base > 0.5 else 1.0
        out[c] += share * fresnel * answer.mirror * tint * mirrored[c]


@njit(cache=True, nogil=True)
def _cornea(n: Vec, gaze: Vec, iris: float) -> Vec:
    """Return the normal over the iris: the cornea is more curved than the eyeball."""
    bulge = 0.9 * iris
    return normed(plus(plus(n, bulge, n), -bulge * dot(n, gaze), gaze))


@njit(cache=True, nogil=True)
def _catchlight(lights: Lights, n: Vec, view: Vec, dim: float, out: Doubles) -> None:
    """Add the lamps that a cornea mirrors: soft boxes."""
    ray = _reflect(n, view)
    for lamp in range(len(lights.direction)):
        if dot(ray, lights.direction[lamp]) < 0.5:
            continue
        size, axes = lights.box[lamp], lights.axes[lamp]
        a, b = abs(dot(ray, axes[0])), abs(dot(ray, axes[1]))
        flash = (1 - step(0.8 * size, 1.2 * size, a)) * (1 - step(0.8 * size, 1.2 * size, b))
        for c in range(3):
            out[c] += 0.9 * clamp(1.5 * dim, 0.0, 1.0) * flash * lights.colour[lamp][c]


@njit(cache=True, nogil=True)
def _like_left(
    triangle: NDArray[np.int32], near: Floats, material: NDArray[np.uint8], column: int
) -> bool:
    """Does the left sample of a pair speak for both: does nothing change between them?"""
    t, s = triangle[column], triangle[column - 1]
    if s < 0 or material[t] == EYE or abs(near[column] - near[column - 1]) > 4e-3:
        return False
    return bool(s == t or (material[s] == material[t] and material[t] < HAIR))


@njit(cache=True, nogil=True)
def _blend(
    fields: Floats, uv: Floats, corners: NDArray[np.int32], a: float, b: float, f: Doubles
) -> tuple[float, float]:
    """Write the vertex fields of one place into `f` and return its texture position."""
    i, j, k = corners[0], corners[1], corners[2]
    c = 1 - a - b
    for column in range(COUNT):
        f[column] = a * fields[i, column] + b * fields[j, column] + c * fields[k, column]
    u = a * uv[0, 0] + b * uv[1, 0] + c * uv[2, 0]
    return u, a * uv[0, 1] + b * uv[1, 1] + c * uv[2, 1]


@njit(cache=True, nogil=True)
def shade(
    triangle: NDArray[np.int32], near: Floats, weights: Floats, surface: Surface, lights: Lights,
    looks: Looks, table: Floats, eye_z: float, colour: Floats,
) -> None:  # fmt: skip
    """Write the colour (H, W, 3) of every covered sample.

    Args:
        triangle: (H, W), with `near` and `weights` as in `raster.Layer`.
        near: (H, W).
        weights: (H, W, 2).
        surface: what was drawn.
        lights: what lights it.
        looks: what it is made of.
        table: from `textures.noise_table`.
        eye_z: the camera is at (0, 0, eye_z).
        colour: (H, W, 3) linear radiance.
    """
    albedo, out, f = np.zeros(3), np.zeros(3), np.zeros(COUNT)
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            t = triangle[row, column]
            if t < 0:
                continue
            if column & 1 and _like_left(triangle[row], near[row], surface.material, column):
                for c in range(3):
                    colour[row, column, c] = colour[row, column - 1, c]
                continue
            material, corners = surface.material[t], surface.triangles[t]
            a, b = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            u, v = _blend(surface.fields, surface.uv[t], corners, a, b, f)
            p, rest = _mix(surface.position, corners, a, b), _mix(surface.rest, corners, a, b)
            n, ambient = _mix(surface.normal, corners, a, b), _mix(surface.light, corners, a, b)
            view = normed((-p[0], -p[1], eye_z - p[2]))
            answer = _respond(material, looks, table, rest, f, u, v, albedo)
            dim = 1.0
            if material == EYE:
                # The lids keep light off the eyeball's upper rim.
                dim, centre = f[ALONG], looks.eyes.centre[int(f[STRAND] + 0.5)]
                n = (p[0] - centre[0], p[1] - centre[1], p[2] - centre[2])
            n = normed(_roughen(n, answer.relief, table, rest))
            for c in range(3):
                out[c] = albedo[c] * ambient[c] * dim
            if HAIR <= material <= LASH:
                tangent = _mix(surface.tangent, corners, a, b)
                along = normed(plus(tangent, 0.25 * (f[STRAND] - 0.5), n))
                shine = looks.fibres.shine[material - HAIR]
                _light_fibre(shine, f[STRAND], lights, albedo, n, along, view, p, out)
            else:
                if dot(n, view) < 0:
                    n = (-n[0], -n[1], -n[2])
                _light_solid(answer, lights, albedo, n, view, p, dim, out)
                # Where little of the surroundings arrives, little is mirrored.
                horizon = lights.sky[1][0] + lights.sky[1][1] + lights.sky[1][2] + 1e-6
                share = dim * clamp((ambient[0] + ambient[1] + ambient[2]) / horizon, 0.0, 1.0)
                if material == EYE:
                    gaze = looks.eyes.gaze[int(f[STRAND] + 0.5)]
                    n = _cornea(n, (gaze[0], gaze[1], gaze[2]), answer.iris)
                    _catchlight(lights, n, view, dim, out)
                _mirror(share, answer, lights.sky, n, view, looks.trim.metal, out)
            for c in range(3):
                colour[row, column, c] = out[c]


@njit(cache=True, nogil=True)
def glaze(
    near: Floats, triangle: NDArray[np.int32], weights: Floats, behind: Floats, position: Floats,
    normal: Floats, triangles: NDArray[np.int32], lights: Lights, trim: Trim, eye_z: float,
    colour: Any,
) -> None:  # fmt: skip
    """Tint what lies behind lenses and add what they mirror.

    Args:
        near: (H, W) of the lenses' layer, with `triangle` and `weights`.
        triangle: (H, W).
        weights: (H, W, 2).
        behind: (H, W) nearness of everything else.
        position: (V, 3) of the lenses.
        normal: (V, 3).
        triangles: (T, 3).
        lights: what is mirrored.
        trim: the glass.
        eye_z: the camera is at (0, 0, eye_z).
        colour: (H, W, 3), changed in place.
    """
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            t = triangle[row, column]
            if t < 0 or near[row, column] <= behind[row, column]:
                continue
            a, b = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            p = _mix(position, triangles[t], a, b)
            n = normed(_mix(normal, triangles[t], a, b))
            view = normed((-p[0], -p[1], eye_z - p[2]))
            facing = dot(n, view)
            if facing < 0:
                n, facing = (-n[0], -n[1], -n[2]), -facing
            ray = _reflect(n, view)
            fresnel = 0.045 + 0.955 * (1 - facing) ** 5 + 0.03 * trim.lens_depth
            # A bright window on the lamp's side: lenses mirror rooms, not gradients.
            x, y = abs(ray[0] - 0.55 * lights.direction[0][0]), abs(ray[1] - 0.28)
            pane = step(0.10, 0.14, 0.26 - x) * step(0.10, 0.14, 0.24 - y)
            mirrored = surroundings(lights.sky, ray[1])
            for c in range(3):
                passed = 1 - trim.lens_depth * (1 - 0.6 * trim.lens[c])
                light = mirrored[c] + 1.6 * pane * lights.colour[0][c]
                colour[row, column, c] = passed * colour[row, column, c] + fresnel * light
