"""Kinds of hair and the chances of meeting them; what a style means, `hair` knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np


@dataclass(frozen=True)
class HairStyle:
    """What tells one head of hair from another; angles in degrees, lengths in decimetres.

    Attributes:
        name: what a person would call it.
        flow: "none" (bald), "shell" (no locks), "comb", "fall" or "gather".
        length: for "comb" the length of a lock on the dome; for "fall" the h where sides and back
            end.
        fringe: h where locks over the forehead end; 0 for none.
        parting: x of the parting.
        face: |φ| that falling hair leaves free in front.
        volume: lift of the hair's body.
        direction: (to the left, to the front) in which short hair is combed.
        rise: how far the tips of short hair stand off.
        wave: amplitude of waves.
        frequency: waves along a lock.
        bumps: unevenness of the shell relative to its volume.
        recede: how far the temples have moved up, in h.
        bald: h above which nothing grows.
        tie: (h, length) of the gathered tail, length 0 for a bun.
        locks: number of locks.
        width: of a lock.
    """

    name: str
    flow: str
    length: float = 0.0
    fringe: float = 0.0
    parting: float = 0.0
    face: float = 50.0
    volume: float = 0.06
    direction: tuple[float, float] = (0.0, 1.0)
    rise: float = 0.03
    wave: float = 0.0
    frequency: float = 2.0
    bumps: float = 0.1
    recede: float = 0.0
    bald: float = 0.0
    tie: tuple[float, float] = (0.9, 0.0)
    locks: int = 260
    width: float = 0.075


def _bald(rng: np.random.Generator) -> HairStyle:
    return HairStyle("bald", "none")


def _buzz(rng: np.random.Generator) -> HairStyle:
    return HairStyle(
        "buzz", "shell", volume=rng.uniform(0.015, 0.05), recede=rng.uniform(0, 0.12), bumps=0.05
    )


def _horseshoe(rng: np.random.Generator) -> HairStyle:
    return HairStyle(
        "horseshoe", "comb", length=rng.uniform(0.12, 0.25), volume=rng.uniform(0.03, 0.07),
        bald=rng.uniform(0.6, 0.8), recede=0.3, direction=(0.0, -1.0), locks=160,
    )  # fmt: skip


def _receding(rng: np.random.Generator) -> HairStyle:
    return replace(_short(rng), name="receding", recede=rng.uniform(0.15, 0.32), fringe=0.0)


def _short(rng: np.random.Generator) -> HairStyle:
    side = rng.choice([-1.0, 1.0])
    direction = [(0.0, -1.0), (side, 0.5), (side, 0.1), (0.2 * side, 1.0)][rng.integers(4)]
    return HairStyle(
        "short", "comb", length=rng.uniform(0.18, 0.42), volume=rng.uniform(0.05, 0.13),
        direction=direction, rise=rng.uniform(0.0, 0.16), recede=rng.uniform(0, 0.08),
        parting=-side * 0.3 if abs(direction[0]) > 0.5 else 0.0, width=rng.uniform(0.05, 0.09),
        wave=rng.choice([0.0, 0.02]), fringe=rng.uniform(0.72, 0.85), locks=360,
    )  # fmt: skip


def _fringed(rng: np.random.Generator) -> HairStyle:
    return replace(
        _short(rng), name="fringed", direction=(rng.uniform(-0.5, 0.5), 1.0), length=0.5,
        rise=0.02, fringe=rng.uniform(0.86, 1.02), recede=0.0,
    )  # fmt: skip


def _bob(rng: np.random.Generator) -> HairStyle:
    return HairStyle(
        "bob", "fall", length=rng.uniform(1.55, 2.2), volume=rng.uniform(0.1, 0.22),
        fringe=rng.choice([0.0, rng.uniform(0.9, 1.03)]), parting=rng.uniform(-0.35, 0.35),
        face=rng.uniform(40, 56), wave=rng.choice([0.0, 0.03]), locks=300,
    )  # fmt: skip


def _long(rng: np.random.Generator) -> HairStyle:
    return replace(
        _bob(rng), name="long", length=rng.uniform(2.6, 3.9), volume=rng.uniform(0.08, 0.18),
        wave=0.0, locks=320,
    )  # fmt: skip


def _wavy(rng: np.random.Generator) -> HairStyle:
    return replace(
        _bob(rng), name="wavy", length=rng.uniform(2.0, 3.4), volume=rng.uniform(0.15, 0.3),
        wave=rng.uniform(0.04, 0.09), frequency=rng.uniform(2, 5), locks=320,
    )  # fmt: skip


def _curly(rng: np.random.Generator) -> HairStyle:
    return replace(
        _bob(rng), name="curly", length=rng.uniform(1.5, 2.6), volume=rng.uniform(0.25, 0.45),
        wave=rng.uniform(0.06, 0.1), frequency=rng.uniform(5, 8), bumps=0.22, width=0.1, locks=420,
    )  # fmt: skip


def _afro(rng: np.random.Generator) -> HairStyle:
    return HairStyle(
        "afro", "comb", length=0.12, volume=rng.uniform(0.12, 0.7), bumps=0.12, rise=0.06,
        wave=0.05, frequency=2.0, width=0.13, locks=480,
    )  # fmt: skip


def _tail(rng: np.random.Generator) -> HairStyle:
    return HairStyle(
        "ponytail", "gather", volume=rng.uniform(0.03, 0.08), width=0.06,
        tie=(rng.uniform(0.55, 1.3), rng.uniform(1.2, 2.6)), wave=rng.choice([0.0, 0.05]),
    )  # fmt: skip


def _bun(rng: np.random.Generator) -> HairStyle:
    return replace(_tail(rng), name="bun", tie=(rng.uniform(0.2, 1.1), 0.0))


STYLES: Final[dict[str, Callable[[np.random.Generator], HairStyle]]] = {
    "bald": _bald, "buzz": _buzz, "horseshoe": _horseshoe, "receding": _receding, "short": _short,
    "fringed": _fringed, "bob": _bob, "long": _long, "wavy": _wavy, "curly": _curly, "afro": _afro,
    "ponytail": _tail, "bun": _bun,
}  # fmt: skip
"""Name of a kind of hair → function that draws one style of this kind."""


def sample_style(rng: np.random.Generator, *, male: float, age: float) -> HairStyle:
    """Return a random style, of the kinds that such people wear most."""
    man = {"buzz": 2.2, "short": 5.0, "fringed": 2.0, "afro": 0.8, "curly": 0.4, "wavy": 0.5,
           "long": 0.3, "bob": 0.2, "bun": 0.2}  # fmt: skip
    woman = {"long": 3.0, "wavy": 3.0, "bob": 2.5, "curly": 1.2, "ponytail": 1.3, "bun": 1.0,
             "short": 1.0, "fringed": 0.6, "afro": 0.7, "buzz": 0.1}  # fmt: skip
    chances = {name: male * man.get(name, 0) + (1 - male) * woman.get(name, 0) for name in STYLES}
    thinning = male * np.clip((age - 28) / 30, 0, 1)
    chances |= {
        "bald": 0.3 + 1.2 * thinning,
        "receding": 3.0 * thinning,
        "horseshoe": 2.0 * thinning,
    }
    chances["bald"] *= male
    names = list(chances)
    share = np.array([chances[name] for name in names])
    kind = names[int(rng.choice(len(names), p=share / share.sum()))]
    return STYLES[kind](rng)
