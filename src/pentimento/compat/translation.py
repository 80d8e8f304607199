"""Official checkpoints of every translating system: which family is it, and back again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pentimento.compat import bicyclegan, pix2pix, pix2pixhd, spade
from pentimento.compat.official import plain, read_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.bicyclegan import BicycleGAN
from pentimento.systems.generate.cyclegan import CycleGAN
from pentimento.systems.generate.pix2pix import Pix2Pix
from pentimento.systems.generate.pix2pixhd import Pix2PixHD
from pentimento.systems.generate.spade import SPADE

Convertible = Pix2Pix | CycleGAN | Pix2PixHD | BicycleGAN | SPADE
_ENDS: Final = ("G", "E", "D", "D2", *pix2pix.CYCLE.values())


def load_official(path: Path, epoch: str = "latest") -> tuple[Convertible, dict[str, str]]:
    """Build the system of an official checkpoint.

    Args:
        path: a generator's `.pth`, which is converted alone, or a folder of `<epoch>_net_G.pth`
            and what belongs to it (`D`, `E`, `D2`), or of CycleGAN's four.
        epoch: which files of the folder.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: a file is missing, is not of these networks, or holds more than tensors.
    """
    files = {"G": path}
    if path.is_dir():
        named = {end: path / f"{epoch}_net_{end}.pth" for end in _ENDS}
        files = {end: file for end, file in named.items() if file.is_file()}
    if files.keys() >= set(pix2pix.CYCLE.values()):
        return pix2pix.from_files(files)
    if "G" not in files:
        raise CheckpointError(
            f"{path} holds neither {epoch}_net_G.pth nor all of {epoch}_net_G_A, G_B, D_A and "
            "D_B.pth; name a generator's file to convert it alone"
        )
    return _family(files)


def _family(files: Mapping[str, Path]) -> tuple[Convertible, dict[str, str]]:
    state, _ = plain(read_pth(files["G"]))
    if bicyclegan.is_generator(state):
        return bicyclegan.from_files(files)
    if pix2pixhd.is_generator(state):
        return pix2pixhd.from_files(files)
    if spade.is_generator(state):
        return spade.from_files(files)
    if "E" in files:
        raise CheckpointError(
            f"{files['E']} stands beside a plain generator: BicycleGAN with the style in the input "
            "alone (where_add=input) is not read; name the generator's file to convert it alone"
        )
    return pix2pix.from_files(files)


def save_official(system: Convertible, folder: Path, epoch: str = "latest") -> list[Path]:
    """Write a system's networks as the official code saves them: bare tensors.

    Returns:
        The files.

    Raises:
        CheckpointError: the official code has no such network.
    """
    if isinstance(system, Pix2PixHD):
        return pix2pixhd.to_files(system, folder, epoch)
    if isinstance(system, BicycleGAN):
        return bicyclegan.to_files(system, folder, epoch)
    if isinstance(system, SPADE):
        return spade.to_files(system, folder, epoch)
    return pix2pix.to_files(system, folder, epoch)
