"""How long the studio takes from the end of a brush stroke to new pixels, in a real browser.

    python benchmarks/studio.py [--strokes 100] [--chromium PATH]

The photo is scikit-image's astronaut enlarged to 4000 x 3000 pixels. A hundred strokes are painted
on the face with a real pointer; the page itself measures from the end of each stroke to the frame
in which its pixels are drawn (256 pixels a side for the face's square, the generator's own size).
Saving, which composes the 12 megapixels, is not part of a stroke.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from skimage.data import astronaut

REGIONS: Final = ("Hair", "Skin", "Left brow", "Lower lip", "Nose", "Background")


def photo() -> bytes:
    """Return a 12-megapixel JPEG with a face."""
    face = astronaut()[0:360, 0:480]  # type: ignore[no-untyped-call]  # no types there
    large = cv2.resize(face, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    out = BytesIO()
    Image.fromarray(np.asarray(large, np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def strokes(page: Page, count: int) -> list[float]:
    """Paint; return milliseconds from the end of each stroke to its pixels."""
    chance = random.Random(0)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    x, y, size = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]
    measured = "performance.getEntriesByName('quick').map((entry) => entry.duration)"
    page.evaluate("performance.clearMeasures()")
    for done in range(count):
        page.click(f"[title='Paint with {chance.choice(REGIONS)}']")
        dx, dy = chance.uniform(-0.25, 0.25), chance.uniform(-0.35, 0.3)
        page.mouse.move(x + dx * size, y + dy * size)
        page.mouse.down()
        for _ in range(6):
            dx, dy = dx + chance.uniform(-0.03, 0.03), dy + chance.uniform(-0.03, 0.03)
            page.mouse.move(x + dx * size, y + dy * size)
            time.sleep(0.016)
        page.mouse.up()
        while len(page.evaluate(measured)) <= done:
            time.sleep(0.01)
    return [float(value) for value in page.evaluate(measured)]


def main() -> None:
    """Start the studio, paint in it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strokes", type=int, default=100)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.jpg"
        file.write_bytes(photo())
        command = [sys.executable, "-m", "pentimento", "studio", "--no-browser", "--port", "0"]
        studio = subprocess.Popen(
            [*command, "--documents", folder], stdout=subprocess.PIPE, text=True
        )
        assert studio.stdout is not None
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=options.chromium, args=sandbox)
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                page.set_default_timeout(300_000)
                page.goto(studio.stdout.readline().strip())
                with page.expect_file_chooser() as chooser:
                    page.click("#choose")
                chooser.value.set_files(file)
                page.wait_for_selector("body.editing")
                taken = sorted(strokes(page, options.strokes))
                browser.close()
        finally:
            studio.terminate()
            studio.wait()
    p95 = taken[min(len(taken) - 1, round(0.95 * len(taken)))]
    print(f"{platform.machine()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"stroke end to new pixels, {len(taken)} strokes on a 12-megapixel photo:")
    print(f"p50 {statistics.median(taken):.0f} ms, p95 {p95:.0f} ms, fastest {taken[0]:.0f} ms")


if __name__ == "__main__":
    main()
