"""Take the screenshots of docs/studio.md: the studio at work, in a real browser.

    python docs/studio.py [--chromium PATH]

The pictures show scikit-image's astronaut and rendered people, nobody else.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER: Final = Path(__file__).parent / "studio"
DESKTOP: Final = (1280, 720)
TABLET: Final = (820, 1100)


def shoot(page: Page, name: str) -> None:
    """Write a screenshot once the model and the page have come to rest."""
    state = """async () => {
        const { job } = await (await fetch("api/health")).json();
        return [job?.kind, performance.getEntriesByType("measure").length];
    }"""
    seen = None
    while (now := page.evaluate(state)) != seen or now[0]:
        seen = now
        time.sleep(2.5)
    image = Image.open(BytesIO(page.screenshot()))
    image.convert("RGB").save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


def opened(browser: Browser, address: str, size: tuple[int, int], scheme: str, sample: str) -> Page:
    """Open a sample in a window of its own."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.set_default_timeout(180_000)
    page.goto(address)
    page.click(f"[aria-label='Open the sample {sample}']")
    page.wait_for_selector("body.editing")
    return page


def drag(page: Page, points: list[tuple[float, float]]) -> None:
    """Drag over the canvas; points are shares of its height from its middle."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    x, y, size = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]
    for i, (dx, dy) in enumerate(points):
        page.mouse.move(x + dx * size, y + dy * size, steps=4)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def main() -> None:
    """Start the studio, work in it, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with tempfile.TemporaryDirectory() as documents:
        command = [sys.executable, "-m", "pentimento", "studio", "--no-browser", "--port", "0"]
        studio = subprocess.Popen(
            [*command, "--documents", documents], stdout=subprocess.PIPE, text=True
        )
        assert studio.stdout is not None
        address = studio.stdout.readline().strip()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=options.chromium, args=sandbox)
                painting(opened(browser, address, DESKTOP, "light", "astronaut"))
                borrowing(opened(browser, address, DESKTOP, "dark", "brown"))
                on_a_tablet(opened(browser, address, TABLET, "light", "blue"))
                browser.close()
        finally:
            studio.terminate()
            studio.wait()


def painting(page: Page) -> None:
    """Paint a fringe; compare before and after."""
    page.click("[title='Paint with Hair']")
    drag(page, [(-0.15, -0.14), (-0.05, -0.11), (0.06, -0.11), (0.14, -0.13)])
    shoot(page, "painting")
    page.keyboard.press("c")
    page.click("#tab-changes")
    shoot(page, "compare")
    page.close()


def borrowing(page: Page) -> None:
    """Take the hair of another picture; then half of it."""
    page.click("[aria-label='Use the sample blonde']")
    page.wait_for_selector("#second:not(.empty)")
    page.click("#second-swap")
    page.wait_for_selector("#commands li", state="attached")
    page.keyboard.press("m")
    shoot(page, "borrowing")
    page.click("#tab-changes")
    page.locator("#commands input").fill("50")
    shoot(page, "blending")
    page.close()


def on_a_tablet(page: Page) -> None:
    """Move the mouth on an upright tablet."""
    page.click("[title='Paint with Lower lip']")
    page.click("#tools [data-tool=move]")
    shoot(page, "tablet")
    page.close()


if __name__ == "__main__":
    main()
