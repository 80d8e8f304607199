import torch

from pentimento.ops.bend import bend, forget, hide


def test_bend_moves_picture_and_labels_together() -> None:
    torch.manual_seed(0)
    axis = torch.arange(64.0)
    stripes = (axis // 16).expand(3, 1, 64, 64).contiguous()
    picture, labels = bend(stripes, stripes[:, 0].long())
    assert labels.dtype == torch.int64
    assert not torch.equal(labels, stripes[:, 0].long())
    # Away from the stripes' borders, where colours mix, both tell the same.
    assert (picture[:, 0] - labels).abs().median() < 1e-4
    assert (picture[:, 0] - labels).abs().max() <= 1


def test_bend_repeats_with_a_generator_and_differs_per_face() -> None:
    picture = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    one, _ = bend(picture, labels, torch.Generator().manual_seed(5))
    two, _ = bend(picture, labels, torch.Generator().manual_seed(5))
    assert torch.equal(one, two)
    assert not torch.equal(one[0], one[1])


def test_hide_hides_something_and_never_everything() -> None:
    torch.manual_seed(0)
    shares = hide(64, 32, torch.device("cpu")).float().mean((1, 2))
    assert shares.max() < 0.3
    assert shares.mean() > 0.01


def test_forget_hides_whole_groups_face_by_face() -> None:
    labels = torch.arange(6).view(1, 2, 3).repeat(64, 1, 1)
    hidden = forget(labels, [(1, 2), (5,)], 0.5, torch.Generator().manual_seed(0))
    assert not hidden[:, [0, 1, 1], [0, 0, 1]].any()  # classes 0, 3 and 4 belong to no group
    assert torch.equal(hidden[:, 0, 1], hidden[:, 0, 2])
    assert 0.2 < hidden[:, 0, 1].float().mean() < 0.8
    assert not torch.equal(hidden[:, 0, 1], hidden[:, 1, 2])
    assert not forget(labels, [(1, 2), (5,)], 0.0).any()
