"""What style transfer makes of one photo, with the bundled features as the judge.

    python benchmarks/style_transfer.py PHOTO --model runs/style --picture docs/pictures/style.jpg

Side by side: the style, the photo, what a trained network (`--model`, in one pass) painted, and
what `StyleTransfer.optimise` did without one. Also prints both losses of `compact`, and how far
noise gets with the Gram matrices of the bundled features, which is why `compact` compares patches.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pentimento import models
from pentimento.data.pictures import read_style
from pentimento.losses.perceptual import Judge, gram
from pentimento.systems.generate.style_transfer import STYLE_LEVELS, StyleTransfer, compact


def as_planes(pixels: NDArray[np.uint8]) -> Tensor:
    """Return (1, 3, S, S) in [-1, 1] of the middle square of a picture."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    return torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1


def noise_in_grams(style: Tensor, steps: int = 150, size: int = 96) -> tuple[float, float]:
    """Return how far the Gram matrices of noise are from a style's, before and after L-BFGS.

    The squared distance as a share of the style's own square, averaged over levels.
    """
    judge = Judge("features", STYLE_LEVELS)
    wanted = [gram(x) * x.shape[1] for x in judge(style)]
    pixels = (0.3 * torch.randn(1, 3, size, size)).requires_grad_()
    optimizer = torch.optim.LBFGS([pixels], max_iter=steps, line_search_fn="strong_wolfe")
    found: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        apart = [
            (gram(x) * x.shape[1] - g).square().sum() / g.square().sum()
            for x, g in zip(judge(pixels), wanted, strict=True)
        ]
        loss = torch.stack(apart).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        found.append(loss.item())
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # nor for this
    return found[0], found[-1]


@click.command(help=__doc__)
@click.argument("photo", type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path), help="A run or model folder.")
@click.option("--picture", type=click.Path(path_type=Path), required=True)
@click.option("--style", default="painting:0", show_default=True)
@click.option("--size", default=256, show_default=True)
@click.option("--steps", default=150, show_default=True, help="Of Adam on the pixels.")
def main(photo: Path, model: Path | None, picture: Path, style: str, size: int, steps: int) -> None:
    """Paint, print and draw."""
    torch.manual_seed(0)
    seen = as_planes(read_style(str(photo), size))
    manner = as_planes(read_style(style, size))
    before, after = noise_in_grams(manner)
    print(f"Gram matrices, relative error: noise {before:.3f}, fitted noise {after:.3f}")
    torch.manual_seed(0)
    slow = StyleTransfer(replace(compact(), style=style, content_weight=0.4, smooth_weight=0.5))
    columns = {"photo": seen, "optimised": slow.optimise(seen, steps, lr=0.03)}
    if model is not None:
        columns["network"] = models.load(model).predict(seen)
    judged = StyleTransfer(replace(compact(), style=style))
    for name, painted in columns.items():
        with torch.no_grad():
            terms = judged._terms(painted, seen)
        print(name, ", ".join(f"{key} {float(value):.3f}" for key, value in terms.items()))
    shown = [manner, *(columns[key] for key in ("photo", "network", "optimised") if key in columns)]
    row = torch.cat(shown, 3)[0].permute(1, 2, 0)
    pixels = ((row + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    Image.fromarray(pixels).save(picture, quality=90)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
