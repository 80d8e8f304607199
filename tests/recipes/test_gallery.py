"""The published gallery: free pictures only, small, and what the recipe says."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FREE = ("faker_portraits/", "congress_gray/", "astronaut")


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery_recipe", ROOT / "recipes/gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gallery_recipe", module)
    spec.loader.exec_module(module)
    return module


def test_only_free_pictures_are_shown(gallery: ModuleType) -> None:
    for plate in gallery.PLATES:
        assert plate.photo.startswith(FREE)
        assert not plate.other or plate.other.startswith(FREE)


def test_the_page_shows_every_plate_with_a_verdict(gallery: ModuleType) -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((gallery/[^)]+)\)", text)
    assert len(shown) == len(gallery.PLATES) == text.count("**Verdict:**")
    for plate in gallery.PLATES:
        assert f"## {plate.title}" in text
        assert plate.verdict in text
    files = [ROOT / "docs" / name for name in shown]
    assert sum(file.stat().st_size for file in files) <= 900_000
    assert {file.name for file in files} == {f.name for f in (ROOT / "docs/gallery").iterdir()}
