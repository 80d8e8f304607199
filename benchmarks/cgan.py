"""What the condition does to a GAN: the same networks with and without the class.

    python benchmarks/cgan.py --out runs/cgan [--sheet docs/pictures/cgan.jpg]

Both train on drawn digits with the same numbers of steps and pictures. A small classifier, trained
on other digits, then says which digit each sample is. Reported: the share of samples that are the
digit that was asked for (the unconditional network cannot know; a tenth is chance); how many of the
ten digits make up at least 2 % of its samples; how sure the classifier is; and how varied samples
of one digit are, as a share of how varied true ones are.
"""

from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pentimento import models
from pentimento.config import with_values
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.engine.system import Split
from pentimento.systems.generate.cgan import ConditionalGAN, Config, compact, open_data
from pentimento.world.digits import CLASSES, digit

_SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_JUDGED: Final = 2_000  # samples per network
_FIRST_UNSEEN: Final = 500_000_000


def digits(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return drawn digits (N, 1, 28, 28) in [-1, 1] and which they are."""
    kinds = torch.arange(count) % CLASSES
    drawn = np.stack([digit(first + n, n % CLASSES) for n in range(count)])
    return torch.from_numpy(drawn)[:, None].float() / 127.5 - 1, kinds


def classifier() -> tuple[nn.Module, float]:
    """Return a small network that tells digits apart, and its accuracy on unseen ones."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 49, CLASSES),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    pictures, kinds = digits(_FIRST_UNSEEN, 6_000)
    for epoch in range(4):
        order = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(epoch))
        for chosen in order.view(-1, 100):
            # Samples of a GAN are rougher than drawn digits: the classifier must not mind.
            rough = pictures[chosen] + 0.2 * torch.randn_like(pictures[chosen])
            loss = F.cross_entropy(network(rough), kinds[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
            optimizer.step()
    network.eval()
    pictures, kinds = digits(_FIRST_UNSEEN + 100_000, 2_000)
    with torch.no_grad():
        return network, float((network(pictures).argmax(1) == kinds).float().mean())


def trained(name: str, config: Config, out: Path) -> ConditionalGAN:
    """Train a network, or return what is there."""
    torch.manual_seed(0)
    settings = Settings(
        steps=config.steps, batch_size=config.batch_size, save_every=1000, validate_every=0,
        validate_samples=500, sheet_every=0, log_every=200, workers=0, average_decay=0.995,
    )  # fmt: skip
    run = out / name
    if not (run / "checkpoints").exists() or not (run / "done").exists():
        train, val = (open_data("digits:count=5000", s, config) for s in _SPLITS)
        resume = (run / "checkpoints").exists()
        outcome = fit(ConditionalGAN(config), run, train, val, settings, resume=resume)
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").touch()
    loaded: ConditionalGAN = models.load(run)
    return loaded


def spread(pictures: Tensor, kinds: Tensor) -> float:
    """Return the mean distance between pictures of one class, averaged over classes."""
    apart = []
    for kind in range(CLASSES):
        own = pictures[kinds == kind].flatten(1)[:100]
        if len(own) > 1:
            apart.append(torch.pdist(own).mean())
    return float(torch.stack(apart).mean())


def sheet(painted: Tensor, rows: int) -> Tensor:
    """Return rows of ten pictures as one, (H, W) in [0, 1]."""
    return painted.view(rows, 10, 28, 28).transpose(1, 2).reshape(rows * 28, 280) / 2 + 0.5


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--steps", default=1_200, show_default=True)
@click.option("--sheet", "picture", type=click.Path(path_type=Path), help="Picture to write.")
def main(out: Path, steps: int, picture: Path | None) -> None:
    """Train both, judge both, print a table."""
    judge, accuracy = classifier()
    true, true_kinds = digits(_FIRST_UNSEEN + 200_000, _JUDGED)
    asked = torch.arange(_JUDGED) % CLASSES
    rows, sheets = [], []
    for name, conditional in (("unconditional", False), ("conditional", True)):
        config = with_values(
            compact(), [f"steps={steps}", f"conditional={str(conditional).lower()}"]
        )
        painted = trained(name, config, out).predict(asked, seed=1)
        with torch.no_grad():
            chances = judge(painted).softmax(1)
        seen = chances.argmax(1)
        shares = torch.bincount(seen, minlength=CLASSES) / _JUDGED
        varied = spread(painted, seen) / spread(true, true_kinds)
        rows.append(
            f"| {name} | {float((seen == asked).float().mean()):.2f} | "
            f"{int((shares >= 0.02).sum())} of 10 | {float(chances.amax(1).mean()):.2f} | "
            f"{varied:.2f} |"
        )
        sheets.append(sheet(painted[:50], 5))
    print(
        f"{steps} steps each; the classifier is right on {accuracy:.1%} of unseen drawn digits.\n"
    )
    print("| loss | the digit asked for | digits painted | certainty | variety |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))
    if picture is not None:
        gap = torch.ones(280, 12)
        both = torch.cat([sheets[0].T, gap, sheets[1].T], 1).T
        Image.fromarray((both * 255).byte().numpy()).resize((560, 2 * len(both))).save(
            picture, quality=70
        )


if __name__ == "__main__":
    main()
