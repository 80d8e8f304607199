"""SRResNet, RRDB and the critic of BasicSR."""

import torch

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture
from pentimento.compat import super_resolution as compat
from pentimento.systems.generate.super_resolution import Config, VGGCritic, build_generator


def _generator(fixture: Fixture) -> Counterpart:
    state = {key: torch.empty(shape, device="meta") for key, shape in fixture.shapes.items()}
    fields, keys = compat.infer(state)
    net = build_generator(Config(**fields, size=96, judge="none"))
    return keyed(keys, net, lambda run: {"y": net(run.inputs["x"])})


def _critic(fixture: Fixture) -> Counterpart:
    width = fixture.shapes["conv0_0.weight"][0]
    net = VGGCritic(int(fixture.number("input_size")), width)
    return keyed(compat.CRITIC, net, lambda run: {"y": net(run.inputs["x"])})


COUNTERPARTS: dict[str, Build] = {
    "msrresnet_x2": _generator,
    "msrresnet_x3": _generator,
    "msrresnet_x4": _generator,
    "rrdbnet_x2": _generator,
    "rrdbnet_x4": _generator,
    "vgg_discriminator_128": _critic,
}
