"""Takes the pictures of docs/images: `python -m tests.page.screenshots`. They show a real gateway under load."""

from __future__ import annotations

import argparse
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.page.browser import chromium, watched_page
from tests.page.traffic import Shop, shop

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
CALM = {
    "live-page-light": (1280, 840, "light"),
    "live-page-dark": (1280, 840, "dark"),
    "live-page-narrow": (375, 900, "dark"),
}
THROTTLING = {"live-page-throttling": (1280, 1000, "light")}
BACKGROUND = ("report-monthly", "video-encode")  # called asynchronously
QUEUE = {"live-page-queue": (1280, 1060, "dark")}


def take(
    browser: Browser,
    served: Shop,
    folder: Path,
    pictures: dict[str, tuple[int, int, str]],
    prepare: Callable[[Page], object] = lambda page: None,
) -> None:
    for name, (width, height, scheme) in pictures.items():
        with watched_page(
            browser, width, height, color_scheme=scheme, reduced_motion="reduce", locale="en-GB"
        ) as watched:
            watched.page.goto(f"http://{served.server.admin}/")
            watched.page.wait_for_selector("tr.row")
            prepare(watched.page)
            watched.page.wait_for_timeout(3000)  # the queue has been read, and the holders of an open function
            path = folder / f"{name}.png"
            path.write_bytes(compress(watched.page.screenshot()))
            print(f"{path}: {path.stat().st_size // 1024} KiB")


def open_function(page: Page, name: str) -> None:
    page.locator("tr.row").get_by_role("button", name=name, exact=True).click()
    page.locator("h1").hover()


def compress(png: bytes) -> bytes:
    """The same picture in fewer bytes: a browser prefers haste."""
    kept, pixels, at = [png[:8]], b"", 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12
        if kind == b"IDAT":
            pixels += data
            continue
        if kind == b"IEND":
            kept.append(_chunk(b"IDAT", zlib.compress(zlib.decompress(pixels), 9)))
        kept.append(_chunk(kind, data))
    return b"".join(kept)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="load before the pictures; 300 fill the sparklines")
    parser.add_argument("--folder", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    with shop(faults=True) as served, chromium() as browser:
        with served.busy(0.5):
            time.sleep(arguments.seconds)
            take(browser, served, arguments.folder, CALM)
        with served.busy():
            served.hold(slots=3, seconds=3600)
            time.sleep(20)
            take(browser, served, arguments.folder, THROTTLING, lambda page: open_function(page, "checkout"))
    with shop(faults=True) as served, chromium() as browser, served.busy(0.5, without=BACKGROUND):
        served.hold(function="report-monthly", slots=2, seconds=3600)
        served.add_script(function="refund", steps=[{"pass": 2}, {"error": "ServiceException", "repeat": 3}])
        served.enqueue("report-monthly", 40)
        served.enqueue("video-encode", 19, account="111122223333")
        time.sleep(15)
        take(browser, served, arguments.folder, QUEUE)


if __name__ == "__main__":
    main()
