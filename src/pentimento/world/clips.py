"""Clips: scenes that move, with the truths of every frame, optical flow and ids that stay.

People walk, sway, turn, blink and talk; balls and balloons fly; the camera pans, travels and zooms.
A clip is a plan per frame with the same people and things, drawn like a scene. Flow follows
surfaces: the place in a triangle, or on a plane, that a pixel shows is projected into the next
frame.

Alphabet: L frames; H, W pixels.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.world.actors import hire
from pentimento.world.heads import Heads
from pentimento.world.layout import Layout, Person, Thing, draw_layout
from pentimento.world.raster import Camera
from pentimento.world.resolve import SAMPLES
from pentimento.world.scenes import (
    CATEGORY_IDS,
    STUFF,
    Drawing,
    WorldScene,
    builtin_heads,
    detail,
    develop,
    draw,
)

Rng = np.random.Generator
_FAR: Final = 3000.0  # where the sky is painted
_FLYING: Final = ("ball", "balloon")


@dataclass(frozen=True)
class WorldClip:
    """A moving scene and its truths.

    Attributes:
        frames: L scenes; one id means one person or thing in all of them.
        categories: id → category of everything planned, also while it is hidden or outside.
        flow: (L - 1, H, W, 2) float32 pixels right and down to the same surface in the next frame,
            also where it is hidden there.
        valid: (L - 1, H, W) bool: is that surface seen there?
    """

    frames: tuple[WorldScene, ...]
    categories: dict[int, int]
    flow: NDArray[np.float32]
    valid: NDArray[np.bool_]


def clip(
    seed: int, length: int = 8, size: int | tuple[int, int] = 256, heads: Heads | None = None
) -> WorldClip:
    """Render the clip of a seed.

    Args:
        seed: >= 0; the same seed gives the same bytes, a longer clip begins like a shorter one.
        length: L, at least 1.
        size: side, or (height, width), at least 32.
        heads: which head model; the built-in one by default.

    Raises:
        ValueError: a negative seed, a length below 1 or a size below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if seed < 0 or length < 1 or min(height, width) < 32:
        raise ValueError(
            f"expected seed >= 0, length >= 1 and size >= 32, got {seed}, {length} and {size}"
        )
    streams = [np.random.Generator(np.random.PCG64([seed, 8, part])) for part in range(6)]
    start = draw_layout(streams[:4], CATEGORY_IDS, height, width)
    plans = _plans(start, streams[4], length, height, width)
    heads = heads or builtin_heads()
    actors = [
        hire(heads, person.number, detail(start.camera, person), moving=True)
        for person in start.people
    ]
    settings = streams[5].bit_generator.state
    frames: list[WorldScene] = []
    flows, valids, last = [], [], None
    for number, plan in enumerate(plans):
        drawing = draw(plan, actors, height, width)
        # The same camera takes every frame, with new noise.
        streams[5].bit_generator.state = settings
        noise = np.random.Generator(np.random.PCG64([seed, 9, number]))
        frames.append(develop(drawing, streams[5], noise))
        if last is not None:
            flow, valid = optical_flow(last, drawing)
            flows.append(flow)
            valids.append(valid)
        last = drawing
    names = ["person"] * len(start.people) + [thing.name for thing in start.things]
    names += start.stage.things
    categories = {number: CATEGORY_IDS[name] for number, name in enumerate(names, 1)}
    stuff = {*start.stage.planes.category.tolist(), *start.stage.panels.category.tolist()}
    categories |= {STUFF + code: code for code in sorted(stuff) if code > 0}
    return WorldClip(
        tuple(frames),
        categories,
        np.stack(flows) if flows else np.zeros((0, height, width, 2), np.float32),
        np.stack(valids) if valids else np.zeros((0, height, width), bool),
    )


def optical_flow(now: Drawing, then: Drawing) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (H, W, 2) where every pixel's surface goes, and (H, W) whether it is seen there."""
    height, width = now.owner.shape
    row, column = np.divmod(now.sample, width * SAMPLES)
    start = np.stack([column + 0.5, row + 0.5], -1) / SAMPLES
    place = now.owner < 0
    start[place] = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)[place] + 0.5
    end = np.zeros((height, width, 3))
    depth = np.where(np.isinf(now.depth), _FAR, now.depth)[place].astype(np.float64)
    flat = _rays(now.layout.camera, start[place])
    point = depth[:, None] * np.concatenate([flat * [1, -1], -np.ones((len(flat), 1))], 1)
    moved = point + now.layout.eye - then.layout.eye
    end[place] = then.layout.camera.project(moved, 1)
    corners = [
        (shape.surface.triangles, person.scale * shape.surface.position + person.place)
        for person, shape in zip(then.layout.people, then.people, strict=True)
    ] + [(prop.triangles, prop.position) for prop in then.things]
    for owner, (triangles, position) in enumerate(corners):
        mine = now.owner == owner
        two = now.weights[mine].astype(np.float64)
        three = np.concatenate([two, 1 - two.sum(-1, keepdims=True)], -1)
        points = (three[..., None] * position[triangles[now.triangle[mine]]]).sum(1)
        end[mine] = then.layout.camera.project(points, 1)
    flow = (end[..., :2] - start).astype(np.float32)
    return flow, _seen(now, then, end)


def _rays(camera: Camera, pixels: Any) -> Any:
    """Return (N, 2) points of the plane at unit depth, y down, that are seen at pixels (N, 2)."""
    return (pixels - camera.crop[:, 2]) @ np.linalg.inv(camera.crop[:, :2]).T


def _seen(now: Drawing, then: Drawing, end: Any) -> NDArray[np.bool_]:
    """Return (H, W) bool: does the next frame show the same surface where it should be?"""
    height, width = now.owner.shape
    x, y = np.floor(end[..., 0]).astype(int), np.floor(end[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (end[..., 2] > 0)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    same = (then.owner[y, x] == now.owner) & ((now.owner >= 0) | (then.code[y, x] == now.code))
    there = np.where(now.owner >= 0, 1 / np.maximum(then.nearness[y, x], 1e-6), then.depth[y, x])
    there = np.where(np.isinf(there), _FAR, there)
    # A surface at a slant varies in depth within a pixel; a part of a body is thicker than that.
    close = np.abs(there - end[..., 2]) < np.where(now.owner >= 0, 0.35, 0.06 * end[..., 2] + 0.3)
    return np.asarray(inside & same & close)


def _plans(start: Layout, rng: Rng, length: int, height: int, width: int) -> list[Layout]:
    """Return a plan per frame."""
    side = min(height, width)
    pan, zoom = rng.normal(0, 0.008, 2) * side, float(rng.normal(0, 0.004))
    spin, travel = float(rng.normal(0, 0.15)), rng.normal(0, 1, 3) * [0.15, 0.03, 0.2]
    if rng.random() < 0.3:
        pan, zoom, spin, travel = 0 * pan, 0.0, 0.0, 0 * travel
    walks = [_walk(rng, person) for person in start.people]
    flights = [_flight(rng, thing) for thing in start.things]
    plans = []
    for t in range(length):
        eye = t * travel
        people = [walk(t) for walk in walks]
        things = [flight(t) for flight in flights]
        plans.append(
            replace(
                start,
                camera=_panned(start.camera, t * pan, np.exp(t * zoom), t * spin, height, width),
                eye=eye,
                people=tuple(replace(p, place=p.place - eye) for p in people),
                things=tuple(replace(o, place=o.place - eye) for o in things),
            )
        )
    return plans


def _panned(camera: Camera, pan: Any, zoom: float, spin: float, height: int, width: int) -> Camera:
    """Return a camera whose picture is turned and enlarged about its middle and moved."""
    c, s = zoom * np.cos(np.radians(spin)), zoom * np.sin(np.radians(spin))
    turn = np.array([[c, -s], [s, c]])
    middle = np.array([width / 2, height / 2])
    crop = turn @ camera.crop
    crop[:, 2] += middle - turn @ middle + pan
    return replace(camera, crop=crop)


def _walk(rng: Rng, person: Person) -> Any:
    """Return what somebody does: frame → person."""
    walking = rng.random() < 0.45
    speed = rng.normal(0, 1, 3) * ([0.5, 0, 0.35] if walking else [0.05, 0.02, 0.05])
    if person.place[2] + 60 * max(speed[2], 0) > -8:
        speed[2] = -abs(speed[2])
    speed = speed * np.clip(-person.place[2] / 45, 0.2, 1.2)  # who is near would be gone at once
    turn, lean = rng.normal(0, [1.6, 0.25])
    nod = rng.normal(0, [9, 4, 3])
    period, phase = rng.uniform(9, 26, 3), rng.uniform(0, 2 * np.pi, 3)
    talks, rhythm = rng.random() < 0.5, rng.uniform(2.2, 4)
    blink, pause = rng.integers(0, 9), rng.integers(9, 30)

    def at(t: int) -> Person:
        wave = np.sin(2 * np.pi * t / period + phase) - np.sin(phase)
        stance, head = person.stance, person.stance.head
        yaw, pitch, roll = (float(v) for v in wave * nod)
        gesture, step = stance.gesture, np.sin(2 * np.pi * t / 11 + phase[0])
        if walking:
            stride = 0.4 * step * np.array([1.0, -1])
            gesture = gesture._replace(stride=stride, swing=gesture.swing - 0.7 * stride)
        since = (t - blink) % pause
        return replace(
            person,
            place=person.place + t * speed,
            stance=replace(
                stance,
                head=replace(
                    head, yaw=head.yaw + yaw, pitch=head.pitch + pitch, roll=head.roll + roll
                ),
                turn=stance.turn + t * float(turn),
                lean=stance.lean + t * float(lean),
                gesture=gesture,
                blink=(0.55, 1.0, 0.5)[since] if since < 3 else 0.0,
                talk=float(talks * max(0.0, np.sin(2 * np.pi * t / rhythm + phase[2]))),
            ),
        )

    return at


def _flight(rng: Rng, thing: Thing) -> Any:
    """Return what something does: frame → thing; most things stay where they are."""
    moves = thing.name in _FLYING or rng.random() < 0.15
    speed = rng.normal(0, 1, 3) * ([0.6, 0.25, 0.3] if thing.name in _FLYING else [0.2, 0, 0.2])
    turn, lean = rng.normal(0, [8, 3])

    def at(t: int) -> Thing:
        if not moves:
            return thing
        return replace(
            thing,
            place=thing.place + t * speed,
            turn=thing.turn + t * float(turn),
            lean=thing.lean + t * float(lean),
        )

    return at
