"""pix2pixHD."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import pix2pixhd as compat
from pentimento.losses.adversarial import least_squares
from pentimento.nn.critic import MultiscaleCritic
from pentimento.nn.norm import instance_norm
from pentimento.nn.resnet_generator import ResNetGenerator, output_layers
from pentimento.ops.instances import instance_edges, pool_instances
from pentimento.systems.generate.pix2pixhd import matching, scores


def _trunk(fixture: Fixture, downs: str, blocks: str) -> ResNetGenerator:
    width, c_in = fixture.shapes["model.1.weight"][:2]
    sizes = int(fixture.number(blocks)), int(fixture.number(downs))
    return ResNetGenerator(c_in, None, width, *sizes, norm=instance_norm, bias=True)


def _global(fixture: Fixture) -> Counterpart:
    downs, blocks = int(fixture.number("n_downsampling")), int(fixture.number("n_blocks"))
    trunk = _trunk(fixture, "n_downsampling", "n_blocks")
    head = nn.Sequential(*output_layers(fixture.shapes["model.1.weight"][0], 3))
    net = nn.ModuleDict({"trunk": trunk, "head": head})
    return keyed(
        compat.generator(downs, blocks), net, lambda run: {"y": head(trunk(run.inputs["x"]))}
    )


def _local(fixture: Fixture) -> Counterpart:
    downs, blocks = (int(fixture.number(f"n_{name}_global")) for name in ("downsample", "blocks"))
    trunk = _trunk(fixture, "n_downsample_global", "n_blocks_global")
    width, c_in = fixture.shapes["model1_1.1.weight"][:2]
    enhancer = ResNetGenerator(
        c_in, 3, width, int(fixture.number("n_blocks_local")), 1, norm=instance_norm, bias=True
    )
    net = nn.ModuleDict({"trunk": trunk, "enhancer": enhancer})

    def call(run: Run) -> dict[str, Tensor]:
        x = run.inputs["x"]
        small = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return {"y": enhancer(x, trunk(small))}

    return keyed(compat.generator(downs, blocks, local=True), net, call)


def _encoder(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["model.1.weight"][:2]
    downs = int(fixture.number("n_downsampling"))
    net = ResNetGenerator(c_in, 3, width, 0, downs, norm=instance_norm, bias=True)

    def call(run: Run) -> dict[str, Tensor]:
        raw = net(run.inputs["x"])
        return {"y": pool_instances(raw, run.inputs["inst"]), "y_raw": raw}

    return keyed(compat.encoder(downs), net, call)


def _critic(fixture: Fixture) -> Counterpart:
    features = "getIntermFeat=True" in fixture.constructor
    first = "scale0_layer0.0.weight" if features else "layer0.0.weight"
    width, c_in = fixture.shapes[first][:2]
    layers, scales = int(fixture.number("n_layers")), int(fixture.number("num_D"))
    net = MultiscaleCritic(c_in, width, layers, scales, norm=instance_norm)

    def call(run: Run) -> dict[str, Tensor]:
        if not features:
            found = net(run.inputs["x"])
            return {f"scale_out{n}": scale[-1] for n, scale in enumerate(found)}
        seen = {
            name: net(torch.cat([run.inputs["label"], run.inputs[name]], 1))
            for name in ("real", "fake")
        }
        outputs = {
            f"{name}/scale_out{i}_feat{j}": feature
            for name, found in seen.items()
            for i, scale in enumerate(found)
            for j, feature in enumerate(scale)
        }
        real, fake = scores(seen["real"]), scores(seen["fake"])
        losses = {
            "loss/gan_fake_as_real": least_squares(fake, True),
            "loss/gan_fake_as_fake": least_squares(fake, False),
            "loss/gan_real_as_real": least_squares(real, True),
            "loss/feature_matching": 10 * matching(seen["fake"], seen["real"]),
        }
        return outputs | {name: loss.reshape(1) for name, loss in losses.items()}

    return keyed(compat.critic(scales, features=features), net, call)


def _edges(fixture: Fixture) -> Counterpart:
    return Counterpart(lambda run: {"edge": instance_edges(run.inputs["inst"])})


COUNTERPARTS: dict[str, Build] = {
    "pix2pixhd_global": _global,
    "pix2pixhd_local": _local,
    "pix2pixhd_encoder": _encoder,
    "pix2pixhd_multiscale_discriminator": _critic,
    "pix2pixhd_multiscale_discriminator_nofeat": _critic,
    "pix2pixhd_edges": _edges,
}
