"""One optimizer step: whose gradients, how many batches, what if they are not finite."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pentimento.engine.schedules import linear_decay
from pentimento.engine.settings import Settings
from pentimento.engine.system import OptimizerSpec
from pentimento.engine.update import Optimizers

SPECS = {
    "critic": OptimizerSpec(("critic",), 0.1),
    "generator": OptimizerSpec(("generator",), 0.1, schedule=linear_decay(0.5)),
}


def networks() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"generator": nn.Linear(2, 2), "critic": nn.Linear(2, 1)})


def optimizers(nets: nn.ModuleDict, **settings: object) -> Optimizers:
    fabric = Fabric(accelerator="cpu", devices=1)
    return Optimizers(fabric, nets, SPECS, Settings(10, 2, **settings))


def game(nets: nn.ModuleDict, x: Tensor) -> Tensor:
    return nets["critic"](nets["generator"](x)).mean()


def weights(nets: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in nets.state_dict().items()}


def changed(nets: nn.ModuleDict, before: dict[str, Tensor]) -> set[str]:
    after = nets.state_dict()
    return {name.split(".")[0] for name in after if not after[name].equal(before[name])}


def test_only_the_group_moves_and_nothing_foreign_is_left_behind() -> None:
    nets = networks()
    update, before = optimizers(nets), weights(nets)
    update.begin(0.0, last=True)
    update("generator", {"a": game(nets, torch.ones(3, 2))})
    assert changed(nets, before) == {"generator"}
    assert all(parameter.grad is None for parameter in nets.parameters())


def test_first_adam_step_is_the_learning_rate_times_the_schedule() -> None:
    nets = networks()
    update, before = optimizers(nets), weights(nets)
    update.begin(0.75, last=True)  # linear decay from 0.5: half is left
    update("generator", {"a": nets["generator"](torch.ones(1, 2)).sum()})
    moved = before["generator.weight"] - nets["generator"].weight
    torch.testing.assert_close(moved, torch.full((2, 2), 0.05), rtol=1e-4, atol=0)


def test_accumulation_equals_the_large_batch() -> None:
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    whole, pieces = networks(), networks()
    one, three = optimizers(whole), optimizers(pieces, accumulate=3)
    one.begin(0.0, last=True)
    one("generator", {"a": game(whole, x)})
    for number, part in enumerate(x.chunk(3)):
        three.begin(0.0, last=number == 2)
        three("generator", {"a": game(pieces, part)})
        assert changed(pieces, weights(networks())) == ({"generator"} if number == 2 else set())
    for name, value in one.state().items():
        torch.testing.assert_close(three.state()[name], value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_skip_the_step(value: float) -> None:
    nets = networks()
    update, before = optimizers(nets), weights(nets)
    update.begin(0.0, last=True)
    update("critic", {"good": game(nets, torch.ones(1, 2))})
    update("generator", {"bad": game(nets, torch.ones(1, 2)) * value})
    assert update.skipped == ["generator"]
    assert changed(nets, before) == {"critic"}
    update.begin(0.0, last=True)
    update("generator", {"good": game(nets, torch.ones(1, 2))})
    assert update.skipped == []
    assert all(torch.isfinite(value).all() for value in nets.state_dict().values())


def test_one_bad_batch_spoils_its_accumulation_only() -> None:
    nets = networks()
    update, before = optimizers(nets, accumulate=2), weights(nets)
    for last, factor in ((False, float("nan")), (True, 1.0)):
        update.begin(0.0, last=last)
        update("generator", {"a": game(nets, torch.ones(1, 2)) * factor})
    assert update.skipped == ["generator"]
    assert not changed(nets, before)
    for last in (False, True):
        update.begin(0.0, last=last)
        update("generator", {"a": game(nets, torch.ones(1, 2))})
    assert not update.skipped


def test_what_only_an_earlier_batch_called_is_stepped_at_the_end() -> None:
    nets = networks()
    update, before = optimizers(nets, accumulate=2), weights(nets)
    for last, name in ((False, "critic"), (True, "generator")):
        update.begin(0.0, last=last)
        update(name, {"a": game(nets, torch.ones(1, 2))})
    assert changed(nets, before) == {"generator"}
    update.end()
    assert changed(nets, before) == {"generator", "critic"}


class Pair:
    """The first of two processes."""

    world_size, device = 2, torch.device("cpu")

    def backward(self, loss: Tensor, inputs: list[nn.Parameter]) -> None:
        loss.backward(inputs=inputs)


@pytest.mark.parametrize("other_loss", [1.0, float("nan")])
def test_processes_average_and_share_what_only_one_used(
    other_loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = networks()
    update = Optimizers(Pair(), nets, SPECS, Settings(10, 2))
    # Of the other: its loss, that it used the bias only, no gradient of the weight, one of 5.
    other = torch.tensor([other_loss, 0.0, 1.0, 0.0, 0.0, 5.0])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: flat.add_(other))
    update.begin(0.0, last=True)
    update("critic", {"a": nets["critic"](torch.tensor([[2.0, 4.0]])).sum()})
    if other_loss == 1.0:
        first = [update.state()[f"critic.{number}.exp_avg"] * 10 for number in range(2)]
        torch.testing.assert_close(first[0], torch.tensor([[1.0, 2.0]]))
        torch.testing.assert_close(first[1], torch.tensor([3.0]))
    else:
        assert update.skipped == ["critic"]


def test_clipping_bounds_the_gradient() -> None:
    nets = networks()
    update = optimizers(nets, clip=1e-3)
    update.begin(0.0, last=True)
    update("generator", {"a": 1e4 * game(nets, torch.ones(1, 2))})
    first = [v for k, v in update.state().items() if k.endswith("exp_avg")]
    norm = torch.cat([value.flatten() for value in first]).norm()
    torch.testing.assert_close(norm, torch.tensor(1e-4), rtol=1e-3, atol=0)  # (1 - beta1) * clip


def test_state_comes_back_bit_by_bit() -> None:
    nets, others = networks(), networks()
    update, other = optimizers(nets), optimizers(others)
    for _ in range(3):
        update.begin(0.0, last=True)
        update("generator", {"a": game(nets, torch.ones(1, 2))})
    others.load_state_dict(nets.state_dict())
    other.load_state({key: value.clone() for key, value in update.state().items()})
    for each, owner in ((update, nets), (other, others)):
        each.begin(0.0, last=True)
        each("generator", {"a": game(owner, torch.ones(1, 2))})
    assert not changed(nets, weights(others))


def test_an_unknown_name_is_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="'discriminator'; there are critic, generator"):
        optimizers(networks())("discriminator", {})
