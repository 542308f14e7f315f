"""A real browser, in which an error that is logged and a request to a network fail the test."""

import dataclasses
import os
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
INSIDE = ("file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One Chromium for all tests of a process: that of DINO_JAX_CHROMIUM, or the machine's."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the [browser] extra")
    found = os.environ.get("DINO_JAX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
    if not found:
        pytest.fail(
            f"no browser: install Chromium (looked for {', '.join(NAMES)}) or name one in "
            "DINO_JAX_CHROMIUM",
            pytrace=False,
        )
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield opened
        opened.close()


@dataclasses.dataclass
class Watch:
    """What should not happen in a page."""

    errors: list[str] = dataclasses.field(default_factory=list)
    requests: list[str] = dataclasses.field(default_factory=list)

    def over(self, page) -> "Watch":
        """Watch a page from here on."""
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._requested)
        return self

    def check(self) -> None:
        """Fail if anything of it did."""
        assert not self.errors
        assert not self.requests

    def _logged(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _requested(self, request) -> None:
        if not request.url.startswith(INSIDE):
            self.requests.append(request.url)


@pytest.fixture
def page(browser) -> Iterator:
    """A fresh page, 1280 x 800; no error and no request may have come of it at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    watch = Watch().over(opened)
    yield opened
    context.close()
    watch.check()
