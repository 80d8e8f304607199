import torch
from torch import Tensor

from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.nn.textures import Painter, Textures

SIDE = 64


def _face(shift: int = 0) -> Tensor:
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    for name, top, bottom, left, right in (
        ("hair", 4, 50, 8, 56), ("skin", 16, 58, 16, 48), ("r_eye", 26, 30, 20, 28),
        ("l_eye", 26, 30, 36, 44), ("nose", 30, 40, 29, 35), ("u_lip", 43, 45, 24, 40),
        ("mouth", 45, 47, 24, 40), ("l_lip", 47, 50, 24, 40), ("neck", 58, 64, 24, 40),
    ):  # fmt: skip
        move = shift if name in ("u_lip", "mouth", "l_lip") else 0
        labels[:, top + move : bottom + move, left:right] = CELEBAMASK19.value(name)
    return labels


def _smooth(seed: int) -> Tensor:
    knots = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) / 3
    up = torch.nn.functional.interpolate(knots, (SIDE, SIDE), mode="bicubic")
    return up.clamp(-1, 1)


def _build() -> tuple[Textures, torch.nn.ModuleDict]:
    torch.manual_seed(0)
    family = Textures(CELEBAMASK19, SIDE, 8)
    return family, torch.nn.ModuleDict(family.networks()).eval()


def _mask(labels: Tensor, *names: str) -> Tensor:
    return torch.isin(labels, torch.tensor(CELEBAMASK19.values(*names)))[:, None].float()


def test_untrained_painter_returns_the_canvas() -> None:
    painter = Painter(19, 8)
    canvas = torch.rand(2, 4, SIDE, SIDE)
    assert torch.equal(painter(canvas, torch.zeros(2, 19, SIDE, SIDE)), canvas[:, :3])


def test_own_codes_give_the_picture_back() -> None:
    family, nets = _build()
    picture, labels = _smooth(1), _face()
    codes = family.encode(nets, picture, labels)
    painted = family.paint(nets, codes, labels, picture, torch.ones(1, 1, SIDE, SIDE))
    assert (painted - picture).abs().max() < 0.1
    boxed = _mask(labels, "r_eye", "l_eye", "nose", "u_lip", "mouth", "l_lip")
    assert ((painted - picture) * (1 - boxed)).abs().max() < 1e-3


def test_neck_and_background_are_the_target_pictures() -> None:
    family, nets = _build()
    labels = _face()
    codes = family.encode(nets, _smooth(1), labels)
    target = _smooth(2)
    painted = family.paint(nets, codes, labels, target, torch.ones(1, 1, SIDE, SIDE))
    outside = _mask(labels, "background", "neck")
    assert ((painted - target) * outside).abs().max() < 1e-3
    assert ((painted - target) * _mask(labels, "skin")).abs().max() > 0.1


def test_a_lowered_mouth_takes_its_colour_along_and_leaves_skin_behind() -> None:
    family, nets = _build()
    labels, lowered = _face(), _face(shift=5)
    picture = torch.zeros(1, 3, SIDE, SIDE) - 0.5 * _mask(labels, "skin")
    lips = _mask(labels, "u_lip", "l_lip", "mouth")
    picture = picture * (1 - lips) + lips
    codes = family.encode(nets, picture, labels)
    painted = family.paint(nets, codes, lowered, picture, torch.ones(1, 1, SIDE, SIDE))
    moved = _mask(lowered, "u_lip", "l_lip", "mouth")
    assert (painted * moved).sum() / (3 * moved.sum()) > 0.9
    uncovered = lips * _mask(lowered, "skin")
    assert uncovered.sum() > 0
    assert (painted * uncovered).sum() / (3 * uncovered.sum()) < -0.3


def test_absent_parts_and_unknown_pixels_are_no_error() -> None:
    family, nets = _build()
    nothing = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    unknown = torch.full_like(nothing, IGNORE)
    for labels in (nothing, unknown):
        codes = family.encode(nets, _smooth(1), labels)
        painted = family.paint(nets, codes, _face(), _smooth(2), torch.ones(1, 1, SIDE, SIDE))
        assert torch.isfinite(painted).all()
        back = family.paint(nets, codes, nothing, _smooth(2), torch.ones(1, 1, SIDE, SIDE))
        assert (back - _smooth(2)).abs().max() < 1e-3


def test_a_face_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    family, nets = _build()
    torch.nn.init.normal_(nets["generator"].tail2.weight, 0, 0.1)
    labels = torch.cat([_face(), _face(3)])
    pictures = torch.cat([_smooth(1), _smooth(2)])
    everywhere = torch.ones(2, 1, SIDE, SIDE)
    both = family.paint(nets, family.encode(nets, pictures, labels), labels, pictures, everywhere)
    alone = family.encode(nets, pictures[1:], labels[1:])
    one = family.paint(nets, alone, labels[1:], pictures[1:], everywhere[1:])
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=1e-4)
