"""Swapping autoencoder."""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run, State
from pentimento.compat import swapping_autoencoder as compat
from pentimento.nn.stylegan import Noise
from pentimento.ops.patches import random_patches
from pentimento.systems.generate import swapping_autoencoder as system


def _networks(fixture: Fixture) -> tuple[system.Config, nn.ModuleDict]:
    """Build all four networks by the options that differ between the official configurations."""
    config = system.Config(
        size=int(fixture.number("crop_size")),
        structure=int(fixture.number("spatial_code_ch")),
        structure_downs=int(fixture.number("netE_num_downsampling_sp")),
        texture=int(fixture.number("global_code_ch")),
        texture_downs=int(fixture.number("netE_num_downsampling_gl")),
        patch=int(fixture.number("patch_size")),
        patch_max=int(fixture.number("netPatchD_max_nc")),
    )
    return config, system.SwappingAutoencoder(config).networks


def _encoder(fixture: Fixture) -> Counterpart:
    config, networks = _networks(fixture)
    net = networks["encoder"]

    def call(run: Run) -> dict[str, Tensor]:
        x = run.inputs["x"]
        structure, texture = net(x)
        raw = net.raw(x)
        # An extra of the official encoder that neither training nor swapping uses.
        middle = F.pad(net.trunk(net.from_rgb(x)), (1, 0, 1, 0), mode="reflect")
        feature = F.interpolate(
            net.texture_trunk[0](middle), (7, 7), mode="bilinear", align_corners=False
        )
        outputs = {"sp": structure, "gl": texture, "feature": feature}
        return outputs | {"sp_raw": raw[0], "gl_raw": raw[1]}

    return keyed(compat.encoder(config.structure_downs), net, call)


def _generator(fixture: Fixture) -> Counterpart:
    net = _networks(fixture)[1]["generator"]
    names = [
        "noise:" + compat.GENERATOR.official(path)
        for path, part in net.named_modules()
        if isinstance(part, Noise)
    ]

    def call(run: Run) -> dict[str, Tensor]:
        noises = [run.inputs[name] for name in names]
        structure, texture = run.inputs["sp"], run.inputs["gl"]
        if run.name.endswith("spatialstyle"):
            structure, texture = structure[:1], run.inputs["glmap"]
            noises = [noise[:1] for noise in noises]
        return {"y": net(structure, texture, noises)}

    def adjust(run: Run, official: State) -> State:
        if "zeronoise" in run.name:
            return {k: t * (not k.endswith("noise.weight")) for k, t in official.items()}
        return official

    return replace(keyed(compat.GENERATOR, net, call), adjust=adjust)


def _critic(fixture: Fixture) -> Counterpart:
    net = _networks(fixture)[1]["critic"]

    def call(run: Run) -> dict[str, Tensor]:
        features = net.features(run.inputs["x"])
        y = net.final_linear(features.flatten(1))
        return {
            "y": y,
            "features": features,
            "loss_real": torch.stack([system.pay_real(score) for score in y]),
            "loss_fake": torch.stack([system.pay_fake(score) for score in y]),
        }

    return keyed(compat.CRITIC, net, call)


def _patch_critic(fixture: Fixture) -> Counterpart:
    net = _networks(fixture)[1]["patch_critic"]

    def call(run: Run) -> dict[str, Tensor]:
        reference, other = run.inputs["ref"], run.inputs["other"]
        features = net.features(reference).unflatten(2, (-1, 2, 2))
        net.average = False
        outputs = {"features": features.flatten(0, 1), "pred": net(reference, other).view(-1, 1)}
        net.average = True
        mean = features.mean(1, keepdim=True).expand_as(features)
        outputs |= {"features_agg": mean.flatten(0, 1)}
        return outputs | {"pred_agg": net(reference, other).view(-1, 1)}

    return keyed(compat.PATCH_CRITIC, net, call)


def _checkpoint(fixture: Fixture) -> Counterpart:
    config = compat.config_of(fixture.shapes)
    networks = system.SwappingAutoencoder(config).networks
    return keyed(compat.whole(config.structure_downs), networks, lambda run: {})


def _crops(fixture: Fixture) -> Counterpart:
    def call(run: Run) -> dict[str, Tensor]:
        drawn: Iterator[Tensor] = iter([run.inputs[name] for name in ("r1", "r2", "r3")])
        patches = random_patches(
            run.inputs["x"],
            fixture.raw["target_size"],
            fixture.raw["num_crops"],
            rand=lambda *shape, device: next(drawn),
        )
        return {"y": patches}

    return Counterpart(call)


COUNTERPARTS: dict[str, Build] = {
    "sae_E": _encoder,
    "sae_G": _generator,
    "sae_D": _critic,
    "sae_Dpatch": _patch_critic,
    "sae_checkpoint_keys": _checkpoint,
    "sae_random_crop": _crops,
}
