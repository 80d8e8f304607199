"""Official landmark checkpoints go through `pentimento convert` and answer the same."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pentimento import models
from pentimento.cli.convert import command
from pentimento.compat.landmarks import FAN, PRINCETON, from_official, recognises
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.hourglass import StackedHourglass


@pytest.mark.parametrize(
    ("kind", "keys", "prefix"),
    [("residual", PRINCETON, "model.module."), ("parallel", FAN, "module.")],
)
def test_a_trainers_file_is_converted_and_answers_the_same(
    kind: str, keys: object, prefix: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = StackedHourglass(kind, 1, 256, 68).eval()  # type: ignore[arg-type]  # parametrised
    official = keys.to_official(net.state_dict())  # type: ignore[attr-defined]
    stored = {prefix + key: value for key, value in official.items()}
    torch.save({"state_dict": stored, "epoch": 3}, tmp_path / "checkpoint.pth")

    words = [str(tmp_path / "checkpoint.pth"), "-o", str(tmp_path / "model")]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "hourglass" in result.output
    system = models.load(tmp_path / "model")
    assert (system.config.stacks, system.config.points) == (1, 68)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(system.networks["hourglass"](image)[-1], net(image)[-1])


def test_incomplete_and_foreign_states_are_refused() -> None:
    state = FAN.to_official(StackedHourglass("parallel", 1, 256, 5).state_dict())
    assert recognises(state)
    del state["m0.b2_plus_1.conv2.weight"]
    with pytest.raises(CheckpointError, match="b2_plus_1"):
        from_official(state)
    assert not recognises({"some.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"some\.weight"):
        from_official({"some.weight": torch.zeros(1)})


def test_an_hrnet_of_other_points_is_refused() -> None:
    state = {"stage4.0.fuse_layers.0.1.0.weight": torch.zeros(1), "head.3.weight": torch.zeros(19)}
    with pytest.raises(CheckpointError, match="19 points"):
        from_official(state)
