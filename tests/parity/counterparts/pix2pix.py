"""pix2pix and CycleGAN."""

from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import pix2pix as compat
from pentimento.losses.adversarial import GAN_LOSSES
from pentimento.nn.critic import PatchCritic, PixelCritic
from pentimento.nn.norm import NormName, norm_layer
from pentimento.nn.resnet_generator import ResNetGenerator
from pentimento.nn.unet import UNet


def _norm(fixture: Fixture) -> NormName:
    return "batch" if 'norm="batch"' in fixture.constructor else "instance"


def _unet(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["model.model.0.weight"][:2]
    c_out = fixture.shapes["model.model.3.weight"][1]
    downs = 7 if "unet_128" in fixture.constructor else 8
    name = _norm(fixture)
    net = UNet(
        c_in,
        c_out,
        width,
        downs,
        norm=norm_layer(name),
        bias=name == "instance",
        dropout="train" if "use_dropout=True" in fixture.constructor else "off",
    )

    def call(run: Run) -> dict[str, Tensor]:
        seen: list[Tensor] = []
        hook = net.up[-1].norm.register_forward_hook(lambda *args: seen.append(args[2].clone()))
        y = net(run.inputs["x"])
        hook.remove()
        return {"y": y, "@model.model.1" + ".model.3" * (downs - 2) + ".model.4": seen[0]}

    return keyed(compat.unet(downs), net, call)


def _resnet(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["model.1.weight"][:2]
    blocks = 9 if "resnet_9blocks" in fixture.constructor else 6
    dropout = "use_dropout=True" in fixture.constructor
    name = _norm(fixture)
    c_out = fixture.shapes[f"model.{blocks + 17}.weight"][0]
    net = ResNetGenerator(
        c_in,
        c_out,
        width,
        blocks,
        norm=norm_layer(name),
        bias=name == "instance",
        dropout="train" if dropout else "off",
    )
    return keyed(
        compat.resnet(blocks, dropout=dropout), net, lambda run: {"y": net(run.inputs["x"])}
    )


def _scores(net: nn.Module, run: Run) -> dict[str, Tensor]:
    y = net(run.inputs["x"])[-1]
    losses = {
        f"loss/{name}_{word}": loss([y], word == "real").reshape(1)
        for name, loss in GAN_LOSSES.items()
        for word in ("real", "fake")
    }
    return {"y": y, **losses}


def _patch(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["model.0.weight"][:2]
    name = _norm(fixture)
    layers = sum(len(shape) == 4 for shape in fixture.shapes.values()) - 2
    net = PatchCritic(c_in, width, layers, norm_layer(name), padding=1, bias=name == "instance")
    return keyed(compat.PATCH_CRITIC, net, lambda run: _scores(net, run))


def _pixel(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["net.0.weight"][:2]
    name = _norm(fixture)
    net = PixelCritic(c_in, width, norm_layer(name), bias=name == "instance")
    return keyed(compat.PIXEL_CRITIC, net, lambda run: _scores(net, run))


COUNTERPARTS: dict[str, Build] = {
    "unet_128_batch": _unet,
    "unet_256_batch": _unet,
    "unet_256_batch_dropout": _unet,
    "unet_256_instance": _unet,
    "resnet_6blocks_batch": _resnet,
    "resnet_9blocks_batch_dropout": _resnet,
    "resnet_9blocks_instance": _resnet,
    "n_layer_discriminator": _patch,
    "n_layer_discriminator_instance": _patch,
    "pixel_discriminator": _pixel,
}
