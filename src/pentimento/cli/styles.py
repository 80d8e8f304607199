"""`pentimento styles`: what instances of each class look like, for pix2pixHD to draw from."""

from collections.abc import Iterator
from pathlib import Path

import click

from pentimento.errors import CheckpointError


@click.command(
    epilog="""\b
Examples:
  pentimento styles runs/hd --data world
  pentimento styles runs/hd/best --data cityscapes/ --limit 500"""
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", "spec", required=True, help="Data specification; its `train` split is used."
)
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Pictures.")
def command(model: Path, spec: str, limit: int) -> None:
    """Cluster the features of instances in pictures, and save them in MODEL.

    MODEL is a model or run folder of pix2pixhd with an encoder (`features` above 0). Until this
    was done once after training, it cannot paint label maps without a picture.
    """
    import numpy as np
    import torch

    from pentimento import models
    from pentimento.engine.data import to_device
    from pentimento.systems.generate import pix2pixhd

    system = models.load(model)
    if not isinstance(system, pix2pixhd.Pix2PixHD):
        raise CheckpointError(f"{model} is no model of pix2pixhd; others have no styles to learn")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    system.networks.to(device)
    data = pix2pixhd.open_data(spec, "train", system.config)
    count = min(limit, len(data))

    def batches() -> Iterator[pix2pixhd.Batch]:
        for index in range(count):
            yield to_device(
                system.collate([data.sample(index, np.random.default_rng(index))]), device
            )

    system.learn_styles(batches())
    known = system.networks["styles"]
    assert isinstance(known, pix2pixhd.Styles)
    learnt = int((known.counts > 0).sum())
    card = (model / models.CARD_FILE).read_text()
    models.save(system, model, f"{card.rstrip()}\n- styles of {learnt} classes from `{spec}`\n")
    click.echo(f"{model}  styles of {learnt} classes, from {count} pictures")
