import torch

from pentimento.ops.instances import instance_edges, pool_instances


def test_both_sides_of_a_border_are_marked() -> None:
    things = torch.tensor([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1]])
    wanted = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert instance_edges(things[None, None])[0, 0].equal(wanted.float())


def test_every_pixel_gets_the_mean_of_its_thing_in_its_picture() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 6, 5, requires_grad=True)
    things = torch.randint(0, 4, (2, 1, 6, 5)) * 1000
    pooled = pool_instances(features, things)
    for picture in range(2):
        for thing in things[picture].unique():
            where = things[picture, 0] == thing
            mean = features[picture][:, where].mean(1, keepdim=True)
            torch.testing.assert_close(pooled[picture][:, where], mean.expand(-1, where.sum()))
    pooled.sum().backward()
    torch.testing.assert_close(features.grad, torch.ones_like(features))
