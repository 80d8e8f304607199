"""Fast neural style."""

from parity.counterparts import Build, Counterpart
from parity.fixture import Fixture
from pentimento.compat.style_transfer import to_official, to_ours
from pentimento.systems.generate.style_transfer import Transformer


def _transformer(fixture: Fixture) -> Counterpart:
    blocks = len({key.split(".")[0] for key in fixture.shapes if key.startswith("res")})
    net = Transformer(fixture.shapes["conv1.conv2d.weight"][0], blocks)
    return Counterpart(
        lambda run: {"y": net(run.inputs["x"])},
        net,
        to_official,
        lambda official: to_ours(official, net.state_dict()),
    )


COUNTERPARTS: dict[str, Build] = {"fast_neural_style": _transformer}
