"""The Chromium that browser tests drive. Where CI=true a missing one is a failure: there nobody looks at skips."""

import os
import shutil
from typing import NoReturn

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def no_browser(why: str) -> NoReturn:
    """Skips the test; with CI=true fails it."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{why}; CI installs Chromium, and a browser test that does not run there is a failure")
    pytest.skip(why)


def chromium() -> str:
    """The path of Chromium; without one `no_browser`."""
    return CHROMIUM or no_browser("no Chromium on the PATH")


def playwright_api():
    """`playwright.sync_api`; without it `no_browser`."""
    try:
        from playwright import sync_api
    except ImportError:
        no_browser("playwright is not installed")
    return sync_api
