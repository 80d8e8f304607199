import torch
from torch import Tensor

from pentimento.labels import HELEN11
from pentimento.nn import mgpe


def _labels(*rectangles: tuple[str, int, int, int, int]) -> Tensor:
    labels = torch.zeros(1, 256, 256, dtype=torch.long)
    for name, top, bottom, left, right in rectangles:
        labels[:, top:bottom, left:right] = HELEN11.value(name)
    return labels


def _features() -> dict[str, Tensor]:
    return {
        "right_eye": torch.ones(1, 1, 8, 12), "left_eye": torch.ones(1, 1, 8, 12),
        "skin": torch.full((1, 1, 64, 64), 3.0), "hair": torch.full((1, 1, 64, 64), 4.0),
        "mouth": torch.ones(1, 1, 20, 36),
    }  # fmt: skip


def test_canvas_by_hand() -> None:
    # Eye rows 111..120, columns 84..109: centre (115, 96), on the grid (29, 24).
    layout = mgpe.lay_out(_labels(("r_eye", 111, 121, 84, 110)), HELEN11, 1.1)
    canvas = mgpe.canvas(_features(), layout)
    expected = torch.zeros(64, 64)
    expected[25:33, 18:30] = 1
    assert torch.equal(canvas[0, 0], expected)
    assert (canvas[0, 2] == 3).all()
    assert (canvas[0, 3] == 4).all()


def test_absent_parts_go_to_their_default_places() -> None:
    layout = mgpe.lay_out(_labels(), HELEN11, 1.1)
    canvas = mgpe.canvas(_features(), layout)
    left_eye, mouth = torch.zeros(64, 64), torch.zeros(64, 64)
    left_eye[25:33, 34:46] = 1  # (116, 160) / 4
    mouth[36:56, 14:50] = 1  # (184, 128) / 4
    assert torch.equal(canvas[0, 1], left_eye)
    assert torch.equal(canvas[0, 4], mouth)


def test_parts_at_the_border_are_cut_not_refused() -> None:
    # The official code asserts 72 <= x <= 184 for mouths.
    labels = _labels(("mouth", 240, 256, 0, 16))
    layout = mgpe.lay_out(labels, HELEN11, 1.1)
    picture = torch.ones(1, 3, 256, 256)
    crop = mgpe.crops(picture, layout)["mouth"]
    assert crop.shape == (1, 3, 80, 144)
    assert crop.sum() > 0
    assert mgpe.canvas(_features(), layout)[0, 4].sum() == (10 + 2) * (18 + 2)


def test_masked_parts_are_grey_where_they_are_not() -> None:
    labels = _labels(("hair", 10, 40, 50, 200), ("r_eye", 111, 121, 84, 110))
    seen = mgpe.crops(torch.ones(1, 3, 256, 256), mgpe.lay_out(labels, HELEN11, 1.1))
    assert seen["hair"].sum() == 3 * 30 * 150
    assert seen["skin"].abs().max() == 0
    assert (seen["right_eye"] == 1).all()  # eyes are seen with what lies around them


def test_outside_is_what_no_part_covers() -> None:
    layout = mgpe.lay_out(
        _labels(("hair", 10, 40, 50, 200), ("nose", 100, 120, 100, 120)), HELEN11, 1
    )
    assert layout.outside.sum() == 256 * 256 - 30 * 150 - 20 * 20


def test_drawn_codes_spread_around_their_mean() -> None:
    torch.manual_seed(0)
    mean, log_variance = (
        torch.full((2, 4000), 3.0),
        torch.full((2, 4000), 2 * torch.log(torch.tensor(0.5))),
    )
    drawn = mgpe.draw({"hair": {"code": mean, "log_variance": log_variance}})["hair"]
    assert abs(float(drawn["code"].mean()) - 3) < 0.03
    assert abs(float(drawn["code"].std()) - 0.5) < 0.02
    kept = mgpe.draw({"hair": {"texture": mean}})["hair"]
    assert kept["texture"] is mean


def test_divergence_is_zero_for_the_prior_and_known_elsewhere() -> None:
    code = {"code": torch.zeros(3, 2), "mean": torch.zeros(3, 2), "log_variance": torch.zeros(3, 2)}
    assert float(mgpe.divergence({"hair": code})) == 0
    shifted = {**code, "mean": torch.ones(3, 2)}
    assert float(mgpe.divergence({"hair": shifted, "skin": code})) == 1  # 1/2 (1 + 1)


def test_permute_moves_whole_codes_and_parts_independently() -> None:
    torch.manual_seed(1)
    index = torch.arange(8.0)[:, None]
    codes = {part: {"a": index, "b": index * 10} for part in ("hair", "skin")}
    out = mgpe.permute(codes)
    for part in out.values():
        assert sorted(part["a"].flatten().tolist()) == list(range(8))
        assert torch.equal(part["a"] * 10, part["b"])
    assert not torch.equal(out["hair"]["a"], out["skin"]["a"])
    assert mgpe.roll(codes)["hair"]["a"].flatten().tolist() == [1, 2, 3, 4, 5, 6, 7, 0]


def test_unet_parser_answers_with_probabilities_at_odd_sizes() -> None:
    torch.manual_seed(0)
    net = mgpe.UNetParser(11, width=4).eval()
    shares = net(torch.rand(1, 3, 75, 90))
    assert shares.shape == (1, 11, 75, 90)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 75, 90))
