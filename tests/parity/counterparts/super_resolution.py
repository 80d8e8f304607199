"""SRResNet, RRDB and the critic of BasicSR."""

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture
from pentimento.compat import super_resolution as compat
from pentimento.systems.generate.super_resolution import Config, VGGCritic, build_generator


def _generator(fixture: Fixture) -> Counterpart:
    state = {key: _Shaped(shape) for key, shape in fixture.shapes.items()}
    fields, keys = compat.infer(state)  # type: ignore[arg-type]  # shapes are all it looks at
    net = build_generator(Config(**fields, size=96, judge="none"))
    return keyed(keys, net, lambda run: {"y": net(run.inputs["x"])})


class _Shaped:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]


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
