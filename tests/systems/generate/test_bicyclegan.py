"""BicycleGAN: who learns from which term, and pictures in drawn and borrowed styles."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pentimento.engine.system import Terms
from pentimento.errors import ConfigError
from pentimento.systems.generate.bicyclegan import Batch, BicycleGAN, paper, tiny

TINY = tiny()


def batch(count: int = 2) -> Batch:
    torch.manual_seed(0)
    return Batch(torch.rand(count, 3, 32, 32) * 2 - 1, torch.rand(count, 3, 32, 32) * 2 - 1)


def learners(system: BicycleGAN, chosen: str) -> set[str]:
    """Return the networks whose parameters a term of one step reaches."""
    reached: set[str] = set()

    def update(name: str, terms: Terms) -> None:
        if chosen in terms:
            system.networks.zero_grad(set_to_none=True)
            terms[chosen].backward()
            reached.update(
                key
                for key, network in system.networks.items()
                if any(p.grad is not None and p.grad.any() for p in network.parameters())
            )

    system.train_step(batch(), update)
    return reached


def test_each_term_teaches_whom_the_paper_says() -> None:
    system = BicycleGAN(TINY)
    both = {"generator", "encoder"}
    assert learners(system, "generator/l1") == both
    assert learners(system, "generator/encoded") == both | {"critic_encoded"}
    assert learners(system, "generator/drawn") == {"generator", "critic_drawn"}
    assert learners(system, "generator/style") == {"generator"}
    assert learners(system, "encoder/kl") == {"encoder"}
    assert learners(system, "critic_drawn/real") == {"critic_drawn"}
    assert all(p.requires_grad for p in system.networks.parameters())


def test_divergence_is_that_of_the_normal_distribution() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean = torch.tensor([[0.5, 0.0, -1.0]]).expand(len(x), -1)
            return mean, torch.tensor([[0.0, 0.4, -0.6]]).expand(len(x), -1)

    system = BicycleGAN(replace(TINY, kl_weight=1.0))
    system.networks["encoder"] = Fixed()
    terms = system.train_step(batch(), lambda name, terms: None)
    own = torch.distributions.Normal(
        torch.tensor([0.5, 0.0, -1.0]), torch.tensor([0.0, 0.2, -0.3]).exp()
    )
    wanted = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum()
    assert terms["encoder/kl"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_seeds_and_other_pictures_give_styles() -> None:
    system = BicycleGAN(TINY)
    with torch.no_grad():  # fresh weights are too small for a style to show
        for network in ("generator", "encoder"):
            for parameter in system.networks[network].parameters():
                parameter.mul_(20)
    x = torch.rand(2, 3, 30, 41) * 2 - 1
    one, same, other = (system.predict(x, seed=seed) for seed in (1, 1, 2))
    assert one.shape == x.shape
    assert one.equal(same)
    assert not one.allclose(other, atol=1e-4)
    like = [torch.rand(1, 3, 20, 50) * 2 - 1, -torch.ones(1, 3, 32, 32)]
    borrowed = [system.predict(x, style_of=each) for each in like]
    assert not borrowed[0].allclose(borrowed[1], atol=1e-4)
    with pytest.raises(ConfigError, match="AtoB only"):
        system.predict(x, direction="BtoA")


@pytest.mark.parametrize(
    ("values", "told"),
    [({"batch_size": 3}, "even"), ({"size": 128}, "multiple of 256"), ({"load_size": 9}, "load")],
)
def test_impossible_configurations_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(paper(), **values)
