"""What faker's prompts say about its sitters."""

import json
from pathlib import Path

import pytest

from pentimento.data.faker import REGION_OF, sitter_of
from pentimento.errors import DataError


def portrait(folder: Path, prompt: str) -> Path:
    words = folder / "metadata" / "male" / "7.json"
    words.parent.mkdir(parents=True, exist_ok=True)
    words.write_text(json.dumps({"prompt": prompt}), encoding="utf-8")
    return folder / "male" / "7.jpg"


def test_a_prompt_tells_sex_age_and_country(tmp_path: Path) -> None:
    photo = portrait(tmp_path, "profile picture of a 59-year-old man from Cocos (Keeling) Islands")

    found = sitter_of(photo)

    assert found == {"sex": "male", "age": "59", "country": "Cocos (Keeling) Islands"}
    assert REGION_OF[found["country"]] == "Oceania"
    islands = portrait(
        tmp_path, "profile picture of an 18-year-old man from Virgin Islands, British"
    )
    assert sitter_of(islands)["country"] in REGION_OF


def test_no_country_stands_in_two_regions() -> None:
    from pentimento.data.faker import _NATIONS

    assert sum(len(names.split(", ")) for names in _NATIONS.values()) == len(REGION_OF) == 144


@pytest.mark.parametrize("prompt", ["a cat", "profile picture of a man from Nepal"])
def test_other_words_are_refused(tmp_path: Path, prompt: str) -> None:
    with pytest.raises(DataError, match="names no age and country"):
        sitter_of(portrait(tmp_path, prompt))


def test_a_portrait_without_its_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt"):
        sitter_of(tmp_path / "male" / "7.jpg")
