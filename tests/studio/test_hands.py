"""Other hands than a mouse: pens, fingers, the keyboard; and faces that are pointed at."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from pentimento.labels import CELEBAMASK19
from studio.conftest import Studio
from studio.test_page import SAMPLES, choose, face, identity, open_sample, saved, settled

(NECKLACE,) = CELEBAMASK19.values("neck_l")


def area(page: Page, value: int = NECKLACE) -> int:
    """Return how many pixels of the saved mask have a class."""
    return int((np.asarray(Image.open(BytesIO(saved(page, "mask")[1]))) == value).sum())


def bring(page: Page, button: str, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click(button)
    chooser.value.set_files(file)


def test_a_pen_paints_as_broad_as_it_is_pressed(page: Page):
    open_sample(page)
    choose(page, "Necklace")
    x, y, size = face(page)
    browser = page.context.new_cdp_session(page)

    def stroke(down: float, force: float) -> None:
        for kind, dx in (("mousePressed", -0.15), ("mouseMoved", 0.15), ("mouseReleased", 0.15)):
            place = {"x": x + dx * size, "y": y + down * size, "force": force}
            looks = {"pointerType": "pen", "button": "left", "buttons": 1, "clickCount": 1}
            browser.send("Input.dispatchMouseEvent", {"type": kind, **place, **looks})

    stroke(-0.2, 0.1)
    settled(page, 2)
    light = area(page)
    stroke(0.2, 1.0)
    settled(page, 3)
    assert light > 0
    assert area(page) - light > 1.5 * light


def test_a_finger_paints_and_two_fingers_zoom_without_painting(page: Page):
    open_sample(page)
    choose(page, "Necklace")
    x, y, _ = face(page)
    browser = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x + dx, "y": y + dy, "id": i} for i, (dx, dy) in enumerate(points)]
        browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (-60, 0))
    touch("touchMove", (60, 10))
    touch("touchEnd")
    settled(page, 2)
    painted, zoom = area(page), page.inner_text("#zoom")
    assert painted > 0
    touch("touchStart", (-40, 0))
    touch("touchStart", (-40, 0), (40, 0))
    touch("touchMove", (-120, 0), (120, 0))
    touch("touchEnd")
    assert int(page.inner_text("#zoom").split()[0]) > 2 * int(zoom.split()[0])
    assert area(page) == painted
    settled(page, 2)


def test_the_keyboard_alone_paints_and_says_where_it_is(page: Page):
    open_sample(page)
    choose(page, "Necklace")
    page.focus("#canvas")
    page.keyboard.press("ArrowRight")  # the first one shows the brush, in the middle of the face
    expect(page.locator("#spoken")).to_contain_text("across")
    page.keyboard.press("Space")
    expect(page.locator("#spoken")).to_have_text("Brush down, Necklace")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    expect(page.locator("#spoken")).to_have_text("Brush up")
    settled(page, 2)
    broad = area(page)
    assert broad > 0
    page.focus("#canvas")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#spoken")).to_contain_text("Necklace,")

    page.keyboard.press("e")
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    settled(page, 3)
    assert 0 < area(page) < broad
    page.focus("#canvas")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")  # the stroke was not meant
    settled(page, 3)


def test_a_brush_that_rests_shows_all_it_has_painted(page: Page):
    open_sample(page)
    choose(page, "Hair")
    x, y, size = face(page)
    page.evaluate("performance.clearMeasures()")
    page.mouse.move(x - 0.15 * size, y)
    page.mouse.down()
    for step in range(12):  # faster than one repaint
        page.mouse.move(x + (0.025 * step - 0.15) * size, y)
    shown = "performance.getEntriesByName('live').length"
    Studio.until(lambda: page.evaluate(shown) > 1)
    page.mouse.up()
    settled(page, 2)


def meadow(folder: Path) -> Path:
    """Return a picture in which no face is found: a portrait, but faint and far away."""
    picture = Image.new("RGB", (900, 600), (90, 140, 90))
    picture.save(folder / "meadow.png")
    return folder / "meadow.png"


def test_a_face_that_is_not_found_is_boxed_by_hand(page: Page, studio: Studio, tmp_path: Path):
    bring(page, "#choose", meadow(tmp_path))
    page.wait_for_selector("#faces >> text=No face was found in meadow.png")
    x, y, _ = face(page)
    page.mouse.move(x - 90, y - 80)
    page.mouse.down()
    page.mouse.move(x + 90, y + 100, steps=3)
    page.mouse.up()
    page.wait_for_selector("body.editing")
    page.wait_for_selector("#faces", state="hidden")
    where: Any = studio.ask("GET", f"/api/documents/{identity(page)}").json["where"]
    left, top, right, bottom = where["box"]
    assert abs((left + right) / 2 - 450) < 3
    assert right - left > 100
    assert bottom > top

    page.click("#home")
    bring(page, "#choose", meadow(tmp_path))
    page.wait_for_selector("#faces >> text=arrow keys move the box")
    page.focus("#canvas")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("body.editing")
    where = studio.ask("GET", f"/api/documents/{identity(page)}").json["where"]
    assert where["box"] == [330 + 0, 180, 600, 420]


def test_the_face_of_a_second_picture_is_chosen(page: Page, studio: Studio, tmp_path: Path):
    both = Image.new("RGB", (1280, 640))
    for left, name in ((0, "blonde"), (640, "blue")):
        both.paste(Image.open(SAMPLES / f"{name}.jpg"), (left, 0))
    both.save(tmp_path / "both.png")
    open_sample(page)
    bring(page, "#second-open", tmp_path / "both.png")
    page.wait_for_selector("#second-faces >> text=2 faces in both.png")
    page.click("#second-faces >> text=Face 2")
    page.wait_for_selector("#second-faces", state="hidden")
    page.click("#second-swap")
    settled(page, 2)

    def taken() -> dict[str, Any]:
        (command,) = studio.ask("GET", f"/api/documents/{identity(page)}").json["commands"]
        return dict(command)

    assert taken()["where"] == {"index": 2}
    page.click("#second-other")
    page.click("#second-faces >> text=Face 1")
    page.wait_for_selector("#second-faces", state="hidden")
    page.click("#second-swap")
    settled(page, 3)
    assert "where" not in taken()
