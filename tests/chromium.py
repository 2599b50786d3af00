"""Renders a page in headless Chromium and tells what it did: its console, and what it asked the network for."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Rendered:
    """A picture, the lines that the page wrote to its console, and the addresses that it asked for."""

    picture: Path
    console: list[str]
    asked_for: list[str]


def chromium() -> str | None:
    """The first browser found."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def render(page: Path, folder: Path, *, width: int, height: int = 1500, dark: bool = False) -> Rendered:
    """Opens a file as a person does, from disk."""
    picture, log = folder / "page.png", folder / "net.json"
    done = subprocess.run(
        [
            chromium() or "", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr", f"--log-net-log={log}", f"--screenshot={picture}",
            f"--window-size={width},{height}", page.as_uri(),
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert picture.is_file(), done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Rendered(picture, console, _asked_for(log))


def _asked_for(log: Path) -> list[str]:
    """Addresses that a page asked for; what the browser asks for by itself has no page as its origin."""
    asked = []
    for event in json.loads(log.read_text(encoding="utf-8"))["events"]:
        of = event.get("params", {})
        if of.get("initiator", "not an origin") != "not an origin" and not of.get("url", "file:").startswith("file:"):
            asked.append(of["url"])
    return asked
