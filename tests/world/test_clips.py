"""Clips: flow leads to the same surface, ids last, and a longer clip begins like a shorter one."""

import numpy as np
import pytest

from pentimento.world.clips import WorldClip, clip

SIDE = 96


@pytest.fixture(scope="module")
def clips() -> list[WorldClip]:
    return [clip(seed, 4, SIDE) for seed in (1, 5)]


def landing(made: WorldClip, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels where the flow of a frame leads."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = x + made.flow[number, ..., 0], y + made.flow[number, ..., 1]
    return np.floor(y).astype(int).clip(0, SIDE - 1), np.floor(x).astype(int).clip(0, SIDE - 1)


def test_flow_carries_ids_onto_the_next_frame(clips: list[WorldClip]) -> None:
    for made in clips:
        assert made.valid.mean() > 0.5
        for number in range(3):
            to = landing(made, number)
            valid = made.valid[number]
            same = made.frames[number].panoptic == made.frames[number + 1].panoptic[to]
            # The sample that speaks for a pixel is up to 0.35 pixels off its middle.
            assert same[valid].mean() > 0.98


def test_flow_carries_dense_coordinates_onto_the_next_frame(clips: list[WorldClip]) -> None:
    """On skin, U and V stay: flow and correspondence are two views of one surface."""
    off = []
    for made in clips:
        for number in range(3):
            now, then = made.frames[number], made.frames[number + 1]
            to = landing(made, number)
            both = made.valid[number] & (now.parts == 1) & (then.parts[to] == 1)
            off.append(np.abs(now.uv.uv - then.uv.uv[to])[both])
    gathered = np.concatenate(off)
    assert len(gathered) > 100
    assert np.median(gathered) < 0.02


def test_where_nothing_hides_it_a_landmark_moves_with_the_flow(clips: list[WorldClip]) -> None:
    errors = []
    for made in clips:
        for number in range(3):
            now = {s.id: s.face for s in made.frames[number].segments if s.face}
            then = {s.id: s.face for s in made.frames[number + 1].segments if s.face}
            for identity in now.keys() & then.keys():
                before, after = now[identity].landmarks[68], then[identity].landmarks[68]
                for point in np.flatnonzero(before.visible & after.visible):
                    x, y = np.floor(before.xy[point]).astype(int)
                    if made.valid[number, y, x] and made.frames[number].parts[y, x]:
                        moved = before.xy[point] + made.flow[number, y, x]
                        errors.append(np.hypot(*(moved - after.xy[point])))
    assert len(errors) > 20
    assert np.median(errors) < 0.5


def test_ids_last_and_name_everything(clips: list[WorldClip]) -> None:
    for made in clips:
        for frame in made.frames:
            for segment in frame.segments:
                assert made.categories[segment.id] == segment.category


def test_a_longer_clip_begins_like_a_shorter_one(clips: list[WorldClip]) -> None:
    short = clip(1, 2, SIDE)
    for ours, theirs in zip(short.frames, clips[0].frames, strict=False):
        assert np.array_equal(ours.picture, theirs.picture)
    assert np.array_equal(short.flow, clips[0].flow[:1])


def test_one_frame_has_no_flow() -> None:
    assert clip(2, 1, 48).flow.shape == (0, 48, 48, 2)
    with pytest.raises(ValueError, match="length >= 1"):
        clip(2, 0, 48)
