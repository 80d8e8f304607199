"""The page in a real browser: what a person does, and what happens to it."""

import os
import random
import signal
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from pentimento.files.marks import SOURCE_TYPE, recipe_of
from pentimento.files.pictures import open_picture
from studio.conftest import Studio

SAMPLES = Path(__file__).parents[2] / "src" / "pentimento" / "studio" / "samples"


def open_sample(page: Page, name: str = "brown") -> None:
    page.click(f"[aria-label='Open the sample {name}']")
    page.wait_for_selector("body.editing")


def settled(page: Page, steps: int) -> None:
    """Wait until the history has that many steps, and the server knows them."""
    expect(page.locator("#history li")).to_have_count(steps, timeout=60_000)


def face(page: Page) -> tuple[float, float, float]:
    """Return middle and size of the face on the screen: it is fitted to the canvas."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]


def paint(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the canvas; points are shares of the face from its middle."""
    x, y, size = face(page)
    page.mouse.move(x + start[0] * size, y + start[1] * size)
    page.mouse.down()
    page.mouse.move(x + end[0] * size, y + end[1] * size, steps=4)
    page.mouse.up()


def choose(page: Page, region: str) -> None:
    page.click(f"[title='Paint with {region}']")


def identity(page: Page) -> str:
    return page.url.split("#")[1]


def saved(page: Page, what: str) -> tuple[str, bytes]:
    page.click("#save")
    with page.expect_download() as download:
        page.click(f"#save-dialog button[value={what}]")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def position(page: Page) -> int:
    steps = page.locator("#history button")
    return next(
        i for i in range(steps.count()) if steps.nth(i).get_attribute("aria-current") == "step"
    )


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return open_picture(data).pixels


def test_drop_a_photo_paint_and_save_it(page: Page, tmp_path: Path):
    data = (SAMPLES / "blue.jpg").read_bytes()
    page.wait_for_selector(".sample")
    page.evaluate(
        """([bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "C:\\\\photos\\\\me & you.jpg"));
            dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
        }""",
        [list(data)],
    )
    page.wait_for_selector("body.editing")
    assert page.inner_text("#name") == "me & you.jpg"
    choose(page, "Skin")
    paint(page, (-0.15, -0.2), (0.15, -0.2))
    settled(page, 2)
    Studio.until(lambda: page.evaluate("performance.getEntriesByName('quick').length > 1"))

    name, jpeg = saved(page, "source")
    assert name == "me & you-edited.jpg"
    before, after = pixels(data), pixels(jpeg)
    assert after.shape == before.shape
    changed = (before != after).any(2)
    assert changed.any()
    assert not changed[-40:].any()  # far from the stroke every pixel is the photo's
    assert SOURCE_TYPE.encode() in jpeg

    name, png = saved(page, "png")
    assert name == "me & you-edited.png"
    recipe = recipe_of(png)
    assert recipe is not None
    assert '"verb":"paint"' in recipe
    assert "photos" not in recipe
    assert "/" not in recipe
    _, mask = saved(page, "mask")
    assert Image.open(BytesIO(mask)).size == (after.shape[1], after.shape[0])


def test_the_recipe_can_be_left_out(page: Page):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    page.click("#save")
    page.uncheck("#save-recipe")
    with page.expect_download() as download:
        page.click("#save-dialog button[value=png]")
    data = Path(download.value.path()).read_bytes()
    assert recipe_of(data) is None
    assert SOURCE_TYPE.encode() in data


def test_twenty_random_edits_undone_are_the_photo_and_redone_are_the_same_bytes(page: Page):
    chance = random.Random(7)
    open_sample(page)
    regions = ["Hair", "Skin", "Hat", "Left brow", "Lower lip", "Background"]
    for _ in range(20):
        choose(page, chance.choice(regions))
        page.keyboard.press(chance.choice("bbbel"))
        start, end = [(chance.uniform(-0.2, 0.2), chance.uniform(-0.3, 0.3)) for _ in range(2)]
        if page.get_attribute("#tools [data-tool=lasso]", "aria-pressed") == "true":
            x, y, size = face(page)
            page.mouse.move(x + start[0] * size, y + start[1] * size)
            page.mouse.down()
            for dx, dy in ((0.1, 0), (0.1, 0.1), (0, 0.1)):
                page.mouse.move(x + (start[0] + dx) * size, y + (start[1] + dy) * size)
            page.mouse.up()
        else:
            paint(page, start, end)
    settled(page, 21)
    masks = saved(page, "mask")[1]
    edited = saved(page, "png")[1]

    for _ in range(20):
        page.keyboard.press("Control+z")
    page.wait_for_selector("#undo:disabled")
    source = pixels((SAMPLES / "brown.jpg").read_bytes())
    assert np.array_equal(pixels(saved(page, "source")[1]), source)
    for _ in range(20):
        page.keyboard.press("Control+Shift+z")
    page.wait_for_selector("#redo:disabled")
    assert saved(page, "mask")[1] == masks
    assert saved(page, "png")[1] == edited


def test_hair_dragged_over_from_a_second_picture_is_taken_and_blended(page: Page):
    open_sample(page)
    page.click("[aria-label='Use the sample blonde']")
    page.wait_for_selector("#second:not(.empty)")
    page.select_option("#second-region", "nose")
    box = page.locator("#second-canvas").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    for share in np.linspace(0.05, 0.6, 24):  # from above, the first thing met is hair
        page.mouse.move(middle, box["y"] + share * box["height"])
        page.mouse.down()
        if page.input_value("#second-region") == "hair":
            break
        page.mouse.up()
    x, y, _ = face(page)
    page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.wait_for_selector("#history >> text=Take hair", state="attached")
    full = pixels(saved(page, "png")[1]).astype(int)
    page.click("#tab-changes")
    slider = page.locator("#commands input[type=range]")
    assert "blonde.jpg" in page.inner_text("#commands")
    slider.fill("0")
    settled(page, 3)
    source = pixels((SAMPLES / "brown.jpg").read_bytes()).astype(int)
    assert np.array_equal(pixels(saved(page, "png")[1]), source)
    page.locator("#commands input[type=range]").fill("50")
    settled(page, 4)
    half = pixels(saved(page, "png")[1]).astype(int)
    assert 0.3 < np.abs(half - source).sum() / np.abs(full - source).sum() < 0.7


def test_mirror_move_scale_smooth_fill_polygon_and_protect(page: Page):
    open_sample(page)
    choose(page, "Left eye")
    page.click("#mirror-region")
    settled(page, 2)
    page.keyboard.press("v")
    page.focus("#canvas")
    page.keyboard.press("Shift+ArrowUp")
    settled(page, 3)
    page.click("#smooth-region")
    settled(page, 4)
    page.keyboard.press("g")
    choose(page, "Hat")
    x, y, size = face(page)
    page.mouse.click(x, y - 0.36 * size)
    settled(page, 5)
    page.keyboard.press("p")
    for dx, dy in ((-0.1, 0.1), (0.1, 0.1), (0, 0.2)):
        page.mouse.click(x + dx * size, y + dy * size)
    page.keyboard.press("Enter")
    settled(page, 6)
    before = saved(page, "mask")[1]
    for region in page.locator(".region-lock").all():  # all regions protected: nothing changes
        region.click(force=True)
    page.keyboard.press("b")
    choose(page, "Necklace")
    paint(page, (-0.2, 0), (0.2, 0.1))
    settled(page, 7)
    assert saved(page, "mask")[1] == before
    page.keyboard.press("i")
    page.mouse.click(x, y - 0.36 * size)
    assert page.inner_text("#chosen-name") == "Hat"


def test_a_project_opens_again_exactly(page: Page, tmp_path: Path):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    page.click("[aria-label='Use the sample blue']")
    page.wait_for_selector("#second:not(.empty)")
    page.select_option("#second-region", "eyes")
    page.click("#second-restyle")
    settled(page, 3)
    page.keyboard.press("Control+z")
    page.wait_for_selector("#redo:enabled")
    name, project = saved(page, "project")
    assert name == "brown.pentimento"
    kinds = {Path(n).suffix for n in zipfile.ZipFile(BytesIO(project)).namelist()}
    assert kinds <= {".json", ".jpg", ".png"}
    picture = saved(page, "png")[1]

    file = tmp_path / name
    file.write_bytes(project)
    page.click("#home")
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(file)
    page.wait_for_selector("body.editing")
    settled(page, 3)
    assert position(page) == 1
    assert saved(page, "project")[1] == project
    assert saved(page, "png")[1] == picture


def test_a_reload_in_the_middle_of_a_stroke_loses_only_that_stroke(page: Page):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    mask = saved(page, "mask")[1]
    x, y, _ = face(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 10)
    page.reload()
    page.wait_for_selector("body.editing")
    settled(page, 2)
    assert saved(page, "mask")[1] == mask


def test_a_killed_model_is_started_again_and_the_work_goes_on(page: Page, studio):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    before = saved(page, "png")[1]
    first = studio.model_pid()
    page.click("#save")
    with page.expect_download() as download:
        page.click("#save-dialog button[value=png]")
        os.kill(first, signal.SIGKILL)
    assert Path(download.value.path()).read_bytes() == before
    assert studio.model_pid() != first


def test_a_job_that_hangs_is_cancelled_and_the_page_stays_alive(page: Page, studio):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    os.kill(studio.model_pid(), signal.SIGSTOP)
    page.click("#save")
    page.click("#save-dialog button[value=png]")
    page.wait_for_selector("#progress:not([hidden])")
    page.click("#cancel")
    page.wait_for_selector("#toast:not([hidden]) >> text=Cancelled")
    assert saved(page, "png")[0] == "brown-edited.png"


def test_after_a_crash_of_the_server_the_document_is_offered_again(page: Page, studio):
    open_sample(page)
    paint(page, (-0.1, -0.3), (0.1, -0.3))
    settled(page, 2)
    mask, document = saved(page, "mask")[1], identity(page)
    studio.stop(signal.SIGKILL)
    studio.start()
    page.goto(studio.address)
    page.click(f"#documents .go-on[value='{document}']")
    page.wait_for_selector("body.editing")
    settled(page, 2)
    assert saved(page, "mask")[1] == mask


def test_several_faces_are_offered_and_none_is_explained(page: Page, tmp_path: Path):
    one, other = (Image.open(SAMPLES / f"{name}.jpg") for name in ("brown", "blonde"))
    both = Image.new("RGB", (1280, 640))
    both.paste(one, (0, 0))
    both.paste(other, (640, 0))
    both.save(tmp_path / "both.png")
    Image.new("RGB", (300, 200), (90, 140, 90)).save(tmp_path / "meadow.png")
    (tmp_path / "broken.jpg").write_bytes((SAMPLES / "brown.jpg").read_bytes()[:4000])

    def bring(name: str) -> None:
        with page.expect_file_chooser() as chooser:
            page.click("#choose")
        chooser.value.set_files(tmp_path / name)

    bring("broken.jpg")
    page.wait_for_selector("#toast.trouble >> text=broken.jpg is damaged")
    on_top = """() => {
        const box = document.querySelector("#toast").getBoundingClientRect();
        return document.elementFromPoint(box.x + box.width / 2, box.y + 9).id;
    }"""
    assert page.evaluate(on_top) == "toast"  # the first page lies beneath it
    bring("both.png")
    page.click("text=Face 2")
    page.wait_for_selector("body.editing")
    page.click("#home")
    bring("meadow.png")
    page.wait_for_selector("#faces >> text=Draw a box around one")


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768), (800, 1100)])
def test_every_control_is_named_and_within_the_window(page: Page, size: tuple[int, int]):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_sample(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, a")]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.ariaLabel || e.labels?.length || e.innerText?.trim() || e.title))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for control in ("#save", "#canvas", "#tools [data-tool=hand]", "#regions", "#fit"):
        box = page.locator(control).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + min(box["height"], 40) <= size[1]
