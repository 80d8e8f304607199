"""Does the feature network see what matters? Choices that a person makes without thinking.

    python benchmarks/features.py --data DATA [--model FOLDER]

DATA holds `faker_portraits`. Of each picture two harmed versions are made, one that hardly matters
(moved by a pixel, bent or turned a little) and one that does (blurred, blotched,
with grain), tuned to the same SSIM. Told is how far the first is from the original, as a share of
how far the second is (medians): SSIM says 1 by construction, below 1 is what a person says.
Pictures of the validation side, which the network never saw, and rendered portraits of unseen
seeds. Compared: the squared error that PSNR is made of, the same network with random weights (mean
of three draws), and the trained one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from pentimento.data.faces import PICTURES, read_rgb, resize_image, split_of
from pentimento.losses.perceptual import BUNDLED, load_features, look_alike
from pentimento.nn.features import FeatureNet
from pentimento.world.portraits import portrait

Picture = NDArray[np.float64]
Harm = Callable[[Picture, float, np.random.Generator], Picture]
"""(picture in [0, 1], strength, generator) → the harmed picture."""

_SIDE: Final = 128
_UNSEEN: Final = 2_000_000_000


def move(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Move by `strength` pixels."""
    angle = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[1, 0, strength * np.cos(angle)], [0, 1, strength * np.sin(angle)]])
    return _warped(x, matrix)


def turn(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Turn by `strength` degrees about the middle."""
    return _warped(x, cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), strength, 1.0))


def _warped(x: Picture, matrix: NDArray[Any]) -> Picture:
    return np.asarray(
        cv2.warpAffine(
            x, matrix, (_SIDE, _SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    )


def bend(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Displace smoothly, by `strength` pixels in the mean."""
    field = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE, 2)), (0, 0), 10)
    field *= strength / np.hypot(field[..., 0], field[..., 1]).mean()
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    across, down = columns + field[..., 0], rows + field[..., 1]
    return np.asarray(
        cv2.remap(
            x, across.astype(np.float32), down.astype(np.float32), cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
    )  # fmt: skip


def blur(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Blur."""
    return np.asarray(cv2.GaussianBlur(x, (0, 0), max(strength, 1e-3)))


def grain(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Add white noise."""
    return np.asarray(x + 0.1 * strength * rng.standard_normal(x.shape))


def blotches(x: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Add spots of a few pixels."""
    noise = cv2.GaussianBlur(rng.standard_normal(x.shape), (0, 0), 3)
    return np.asarray(x + 0.1 * strength * noise / noise.std())


PAIRS: Final[dict[str, tuple[Harm, float, Harm]]] = {
    "moved by a pixel, not blurred": (move, 1.0, blur),
    "moved by a pixel, not blotched": (move, 1.0, blotches),
    "bent by a pixel, not blurred": (bend, 1.0, blur),
    "bent by a pixel, not blotched": (bend, 1.0, blotches),
    "turned by a degree, not blurred": (turn, 1.0, blur),
    "turned by a degree, not with grain": (turn, 1.0, grain),
}
"""What it says → (harmless, its strength, harmful: its strength is tuned)."""


def as_like(x: Picture, wanted: float, harm: Harm, seed: int) -> Picture | None:
    """Return a picture harmed so that its 1 - SSIM is `wanted`; None if that cannot be."""
    low, high = 0.0, 8.0
    for _ in range(12):
        middle = (low + high) / 2
        y = harm(x, middle, np.random.default_rng(seed)).clip(0, 1)
        low, high = (low, middle) if unlike(x, y) > wanted else (middle, high)
    return y if abs(unlike(x, y) / wanted - 1) < 0.03 else None


Measure = Callable[[Picture, Picture], float]


def by_network(network: nn.Module) -> Measure:
    """Return the perceptual distance through a network."""

    def distance(x: Picture, y: Picture) -> float:
        pair = torch.from_numpy(np.stack([x, y]).transpose(0, 3, 1, 2)).float() * 2 - 1
        with torch.no_grad():
            seen = network(pair)
        return float(look_alike([f[:1] for f in seen], [f[1:] for f in seen]))

    return distance


def unlike(x: Picture, y: Picture) -> float:
    """Return 1 - SSIM."""
    likeness = structural_similarity(  # type: ignore[no-untyped-call]  # it has no types
        x, y, data_range=1.0, channel_axis=2, gaussian_weights=True, use_sample_covariance=False
    )
    return 1 - float(likeness)


def squares(x: Picture, y: Picture) -> float:
    """Return the mean squared error, which PSNR is a logarithm of."""
    return float(((x - y) ** 2).mean())


def untrained(widths: list[int], seed: int) -> FeatureNet:
    """Return the network as it was before training."""
    torch.manual_seed(seed)
    network = FeatureNet(widths)
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one
    return network.eval()


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="[default: the bundled one]")
@click.option("--rendered", default=8, show_default=True, help="Rendered portraits.")
def main(data: Path, model: Path | None, rendered: int) -> None:
    """Print a table of shares of right choices."""
    network, _ = load_features(model / "model.safetensors" if model else BUNDLED)
    widths = [len(level[1].weight) for level in network.levels]  # type: ignore[index]
    measures: dict[str, list[Measure]] = {
        "squares": [squares],
        "untrained": [by_network(untrained(widths, seed)) for seed in range(3)],
        "trained": [by_network(network)],
    }
    files = sorted(p for p in (data / "faker_portraits").rglob("*") if p.suffix in PICTURES)
    files = [p for p in files if split_of(p.stem) == "val"]
    pictures = [resize_image(read_rgb(p), _SIDE) for p in files]
    pictures += [portrait(_UNSEEN + n, _SIDE).picture for n in range(rendered)]
    print("| the choice | pairs |", " | ".join(measures), "|")
    print("|---|---|" + "---|" * len(measures))
    for told, (harmless, strength, harmful) in PAIRS.items():
        found: dict[str, list[float]] = {name: [] for name in measures}
        for seed, picture in enumerate(pictures):
            x = picture / 255
            a = harmless(x, strength, np.random.default_rng(seed)).clip(0, 1)
            b = as_like(x, unlike(x, a), harmful, seed)
            if b is None:
                continue
            for name, several in measures.items():
                found[name].append(float(np.mean([m(x, a) / m(x, b) for m in several])))
        cells = " | ".join(f"{np.median(values):.2f}" for values in found.values())
        print(f"| {told} | {len(found['trained'])} | {cells} |")
    print(f"\n{len(files)} photos and {rendered} rendered portraits, {_SIDE} pixels.")


if __name__ == "__main__":
    main()
