import torch

from pentimento.ops.bend import bend, forget, hide, wish


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


def test_wish_moves_features_within_the_skin_and_lends_hair() -> None:
    skin, eye, hair, back = 1, 2, 3, 0
    one, other = torch.full((2, 64, 64), back).unbind()
    for face in (one, other):
        face[16:60, 8:56] = skin
        face[30:36, 20:30] = eye
    one[8:16, 8:56] = hair
    other[2:20, 4:60] = hair
    masks = torch.stack([one, other])
    lent = 0
    for seed in range(8):
        wanted, borrowed = wish(masks, [eye], skin, hair, torch.Generator().manual_seed(seed))
        assert (wanted[0, 40:] == one[40:]).all()  # nothing lies there that could move
        assert 10 < (wanted[0] == eye).sum() < 200
        if borrowed[0]:
            lent += 1
            assert torch.equal(wanted[0] == hair, other == hair)
        else:
            assert torch.equal(wanted[0] == hair, one == hair)
    assert 0 < lent < 8
    assert torch.equal(masks, torch.stack([one, other]))  # the asked ones stay as they are
