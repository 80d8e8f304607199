"""Squares blur, a critic sharpens: one small picture, several ways to the large one.

    python benchmarks/super_resolution.py --data SPEC --out runs/sr [--picture docs/….jpg]

SPEC is training data as for `pentimento train`, `pictures:DIR` for instance; its validation side is
measured. One generator (`compact`, ×4) is trained by squared differences alone, and again with a
critic and the perceptual loss in the second half, once more with a critic of five times the weight;
all for the same number of steps. PSNR tells how
near the pixels are, sharpness how much gradient there is beside the truth's, `looks` the perceptual
distance (bundled features), which counts what a person sees rather than each pixel.
"""

from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pentimento import models
from pentimento.config import with_values
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.engine.system import Split
from pentimento.losses.perceptual import Judge, look_alike
from pentimento.metrics.images import psnr, sharpness, ssim
from pentimento.systems.generate.super_resolution import (
    Config,
    SuperResolution,
    compact,
    open_data,
    reduce,
)

_SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_HEAVIER: Final = ("adversarial_weight=5e-3", "perceptual_weight=0.05")
_SQUARES: Final = ("pixel=mse", "judge=none", "adversarial=none", "adversarial_from=0")


def trained(name: str, config: Config, spec: str, out: Path) -> SuperResolution:
    """Train a generator, or continue, or return what is there."""
    torch.manual_seed(0)
    settings = Settings(
        steps=config.steps, batch_size=config.batch_size, save_every=100, validate_every=0,
        validate_samples=50, sheet_every=0, workers=0, precision="bf16", average_decay=0.99,
    )  # fmt: skip
    run = out / name
    if not (run / "done").exists():
        train, val = (open_data(spec, split, config) for split in _SPLITS)
        resume = (run / "checkpoints").exists()
        outcome = fit(SuperResolution(config), run, train, val, settings, resume=resume)
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").touch()
    loaded: SuperResolution = models.load(run)
    return loaded


def enlarged(small: Tensor, scale: int) -> Tensor:
    """Return bicubic enlargements of (B, 3, H, W) in [0, 1]."""
    return F.interpolate(small, scale_factor=float(scale), mode="bicubic").clamp(0, 1)


@click.command()
@click.option("--data", "spec", required=True, help="Data specification.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--show", help="Data of the picture, where it may not come from --data.")
@click.option("--picture", type=click.Path(path_type=Path), help="Picture to write.")
@click.option("--steps", default=400, show_default=True)
@click.option("--limit", default=24, show_default=True, help="Pictures that are measured.")
def main(
    spec: str, out: Path, show: str | None, picture: Path | None, steps: int, limit: int
) -> None:
    """Train all, measure all, print a table."""
    squares = with_values(compact(), [f"steps={steps}", *_SQUARES])
    critic = with_values(compact(), [f"steps={steps}"])
    heavier = with_values(critic, _HEAVIER)
    ways = {
        "squares alone": trained("squares", squares, spec, out),
        "with a critic": trained("critic", critic, spec, out),
        "with a heavier critic": trained("heavier", heavier, spec, out),
    }
    judge = Judge("features")
    whole = with_values(critic, [f"size={critic.load_size}"])

    def painted(large: Tensor) -> dict[str, Tensor]:
        small = reduce(large, critic.scale)
        found = {"bicubic": enlarged(small, critic.scale)}
        for name, system in ways.items():
            found[name] = system.predict(small * 2 - 1) / 2 + 0.5
        return found | {"truth": large}

    data, rng = open_data(spec, "val", whole), np.random.default_rng(0)
    found: dict[str, list[tuple[float, ...]]] = {}
    for n in range(min(limit, len(data))):
        large = ways["with a critic"].collate([data.sample(n, rng)]).large
        truth = large[0].permute(1, 2, 0).numpy()
        for name, one in painted(large).items():
            pixels = one[0].permute(1, 2, 0).numpy()
            with torch.no_grad():
                looks = float(look_alike(judge(one * 2 - 1), judge(large * 2 - 1)))
            figures = (psnr(truth, pixels), ssim(truth, pixels), sharpness(pixels), looks)
            found.setdefault(name, []).append(figures)
    means = {name: np.array(values).mean(0) for name, values in found.items()}
    print(f"{len(found['truth'])} pictures, {steps} steps each\n")
    print("| ×4 by | PSNR in dB | SSIM | sharpness | looks |\n|---|---|---|---|---|")
    for name, (decibels, alike, sharp, looks) in means.items():
        print(
            f"| {name} | {decibels:.2f} | {alike:.3f} | "
            f"{sharp / means['truth'][2]:.2f} | {looks:.4f} |"
        )
    if picture is not None:
        shown = open_data(show or spec, "val", whole)
        rows = []
        for n in range(min(2, len(shown))):
            columns = painted(ways["with a critic"].collate([shown.sample(n, rng)]).large)
            # The middle, where the face is, at twice its size.
            rows.append(torch.cat([x[0, :, 60:188, 64:192] for x in columns.values()], 2))
        pixels = (torch.cat(rows, 1).permute(1, 2, 0) * 255).round().byte().numpy()
        image = Image.fromarray(pixels)
        image.resize((image.width * 3 // 2, image.height * 3 // 2), 1).save(picture, quality=80)


if __name__ == "__main__":
    main()
