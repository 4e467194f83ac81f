"""Takes the pictures of docs/images: `python -m tests.page.screenshots`. They show a real gateway under load."""

from __future__ import annotations

import argparse
import struct
import time
import zlib
from pathlib import Path

from playwright.sync_api import Browser

from tests.page.browser import chromium, watched_page
from tests.page.traffic import Shop, shop

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
PICTURES = {
    "live-page-dark": (1280, 840, "dark"),
    "live-page-light": (1280, 840, "light"),
    "live-page-narrow": (360, 900, "dark"),
}


def take(browser: Browser, served: Shop, folder: Path) -> None:
    """Every picture, of the same load."""
    for name, (width, height, scheme) in PICTURES.items():
        with watched_page(browser, width, height, color_scheme=scheme, reduced_motion="reduce") as watched:
            watched.page.goto(f"http://{served.server.admin}/")
            watched.page.wait_for_selector("tr.row")
            watched.page.wait_for_timeout(6000)  # until what has just been throttled is marked
            path = folder / f"{name}.png"
            path.write_bytes(compress(watched.page.screenshot()))
            print(f"{path}: {path.stat().st_size // 1024} KiB")


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
    with shop() as served, chromium() as browser, served.busy():
        served.hold(function="report-monthly", slots=2, seconds=3600)
        served.hold(slots=3, seconds=3600)
        time.sleep(arguments.seconds)
        take(browser, served, arguments.folder)


if __name__ == "__main__":
    main()
