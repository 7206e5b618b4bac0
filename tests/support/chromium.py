"""A browser without a window: what it makes of a page, and what it complains about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH")


def opened(path: Path, *, milliseconds: int = 5000, profile: Path | None = None) -> tuple[str, list[str]]:
    """Return the page after its scripts have run for some time, and the messages on the console.

    Time is virtual: it passes as fast as the page allows.
    """
    assert CHROMIUM is not None
    # without a sandbox, so that it also runs as root, in a container
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    options += ["--v=0", f"--virtual-time-budget={milliseconds}", "--dump-dom"]
    options.append(f"--user-data-dir={profile or path.parent / 'profile'}")
    result = subprocess.run(
        [CHROMIUM, *options, path.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    return result.stdout, [line for line in result.stderr.splitlines() if re.search(r"\bCONSOLE[:(]", line)]
