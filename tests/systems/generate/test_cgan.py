from dataclasses import replace

import pytest
import torch

from pentimento.systems.generate.cgan import ConditionalGAN, Critic, Maxout, tiny


def build(**values) -> ConditionalGAN:
    torch.manual_seed(0)
    return ConditionalGAN(replace(tiny(), **values))


def test_maxout_by_hand() -> None:
    layer = Maxout(1, 2, 3)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [2], [3], [-1], [-2], [-3]]))
        layer.linear.bias.zero_()
    assert layer(torch.tensor([[2.0]])).tolist() == [[6.0, -2.0]]
    assert layer(torch.tensor([[-2.0]])).tolist() == [[-2.0, 6.0]]


def test_the_class_changes_the_picture_only_under_a_condition() -> None:
    for conditional in (True, False):
        system = build(conditional=conditional)
        one, other = (system.predict(torch.full((3,), kind), seed=4) for kind in (0, 7))
        assert one.equal(other) == (not conditional)
        assert not one.equal(system.predict(torch.zeros(3, dtype=torch.long), seed=5))
        assert one.shape == (3, 1, 28, 28)


def test_a_normalised_picture_does_not_depend_on_its_neighbours() -> None:
    system = build(normalise=True, dropout=0.0)
    noise, kinds = torch.rand(4, 8), torch.eye(10)[:4]
    generator = system.networks["generator"]
    trained = generator(noise, kinds)
    assert not trained[:2].allclose(generator(noise[:2], kinds[:2]), atol=1e-4)
    generator.eval()
    assert generator(noise, kinds)[:2].allclose(generator(noise[:2], kinds[:2]), atol=1e-6)


def test_the_critic_sees_the_class() -> None:
    critic = Critic(tiny()).eval()
    picture, kinds = torch.rand(1, 1, 28, 28).expand(2, -1, -1, -1), torch.eye(10)[:2]
    scores = critic(picture, kinds)
    assert not scores[0].equal(scores[1])


def test_classes_beyond_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 9"):
        build().predict(torch.tensor([10]))
    with pytest.raises(ValueError, match="at least 28"):
        build(size=16)
