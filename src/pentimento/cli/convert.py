"""`pentimento convert`: checkpoints of the well-known repositories ↔ model folders."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import click

from pentimento.errors import CheckpointError


@click.command(
    epilog="""\b
Examples:
  pentimento convert checkpoints/facades/latest_net_G.pth -o models/facades
  pentimento convert checkpoints/horse2zebra -o models/horse2zebra --epoch 200
  pentimento convert mosaic.pth -o models/mosaic
  pentimento convert 79999_iter.pth -o models/bisenet
  pentimento convert vgg19-dcbb9e9d.pth -o vgg19.safetensors
  pentimento convert models/horse2zebra --to official -o checkpoints/again
  pentimento convert models/facades --to official -o latest_net_G.pth"""
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write; with --to official also one .pth, of the generator alone.",
)
@click.option(
    "--to", "target", type=click.Choice(["pentimento", "official"]), default="pentimento",
    show_default=True, help="What to write.",
)  # fmt: skip
@click.option(
    "--epoch", default="latest", show_default=True,
    help="First word of the names of official files, like latest or 200.",
)  # fmt: skip
@click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE",
    help="Set a field of Config that the keys do not tell, such as size.",
)  # fmt: skip
def command(
    source: Path,
    out: Path,
    target: Literal["pentimento", "official"],
    epoch: str,
    values: tuple[str, ...],
) -> None:
    """Convert SOURCE: an official .pth, the folder of several, or one of our models.

    Known are mask-guided portrait editing, MaskGAN, the swapping autoencoder, pix2pix, CycleGAN,
    pix2pixHD, BicycleGAN, SPADE, fast neural style, SRResNet and RRDB of BasicSR and ESRGAN;
    CelebAMask-HQ's and BiSeNet's face parsers, RetinaFace, face-HRNet, princeton-vl's stacked
    hourglass, FAN, CornerNet, both CenterNets and DensePose; and torchvision's VGG, for perceptual
    losses. The architecture is read from
    the keys. Loading is strict: every key is used, or named with the reason why it was dropped.
    Files are read as plain tensors only; nothing in them is executed.
    """
    if target == "official":
        _to_official(source, out, epoch)
    else:
        _from_official(source, out, epoch, values)


def _from_official(source: Path, out: Path, epoch: str, values: tuple[str, ...]) -> None:
    from pentimento import catalog, models
    from pentimento.compat.checkpoints import convert_vgg, load_official
    from pentimento.config import with_values

    if not source.exists():
        raise CheckpointError(f"{source}: no such file or folder")
    if out.suffix == ".safetensors":
        depth = convert_vgg(source, out)
        if depth is None:
            raise CheckpointError(
                f"{source} is not torchvision's VGG-16 or VGG-19, of which a .safetensors file "
                "can be made; for other checkpoints -o names a folder"
            )
        click.echo(f"{out}  VGG-{depth}, for judge=vgg{depth}:{out}")
        return
    if (out / models.CONFIG_FILE).exists():
        raise CheckpointError(f"{out} already holds a model; choose another folder")
    system, notes = load_official(source, epoch)
    if values:
        kind: Any = type(system)
        networks, system = system.networks, kind(with_values(system.config, [*values]))
        for name in [name for name in system.networks if name not in networks]:
            del system.networks[name]
        models.restore(system.networks, models.weights(networks), str(source))
    name = catalog.name_of(type(system))
    models.save(system, out, _card(source, name, notes))
    click.echo(f"{out}  {name}: {_listed(system.config)}")
    for what, why in notes.items():
        click.echo(f"  {what}  {why}")


def _to_official(source: Path, out: Path, epoch: str) -> None:
    from pentimento import models
    from pentimento.compat.checkpoints import save_official

    system = models.load(source)
    if out.suffix != ".pth":
        for path in save_official(system, out, epoch):
            click.echo(str(path))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as folder:
        written = {path.name: path for path in save_official(system, Path(folder), epoch)}
        if f"{epoch}_net_G.pth" not in written:
            raise CheckpointError(f"{source} has two generators; name a folder to write them to")
        written[f"{epoch}_net_G.pth"].replace(out)
    click.echo(str(out))


def _listed(config: Any) -> str:
    shown = (
        "generator", "scale", "depth", "downs", "blocks", "width", "classes", "style", "features",
        "enhance", "norm", "dropout", "critic", "points", "stacks",
    )  # fmt: skip
    values = ((name, getattr(config, name, None)) for name in shown)
    return ", ".join(f"{name} {value}" for name, value in values if value is not None)


def _card(source: Path, name: str, notes: Mapping[str, str]) -> str:
    lines = [
        f"# {source.stem}, a converted model of {name}",
        "",
        f"Converted from the official checkpoint `{source.name}`. What it was trained on, and "
        "under which licence, its source says.",
        "",
        *(f"- `{what}`: {why}" for what, why in notes.items()),
    ]
    return "\n".join(lines).rstrip() + "\n"
