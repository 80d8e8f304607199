"""Fast neural style."""

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture
from pentimento.compat.style_transfer import TRANSFORMER
from pentimento.systems.generate.style_transfer import Transformer


def _transformer(fixture: Fixture) -> Counterpart:
    blocks = len({key.split(".")[0] for key in fixture.shapes if key.startswith("res")})
    net = Transformer(fixture.shapes["conv1.conv2d.weight"][0], blocks)
    return keyed(TRANSFORMER, net, lambda run: {"y": net(run.inputs["x"])})


COUNTERPARTS: dict[str, Build] = {"fast_neural_style": _transformer}
