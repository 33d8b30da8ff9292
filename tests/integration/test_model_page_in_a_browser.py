"""The model's page in a real browser: nothing goes wrong in it, and it asks nobody for anything."""

import shutil
import subprocess
from html import escape

import pytest
from made_up_report import FOURTEEN, TWO, made_up_report
from outline import EVIL

from bigmodel.pages.model_page import model_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--no-first-run",
         "--enable-logging=stderr")  # fmt: skip
ASKS = b'<body><img src="http://127.0.0.1:9/a.png"><script src="b.js"></script>'
FRAME = """<!doctype html><meta charset="utf-8"><title></title><iframe width="360" srcdoc="{}"
onload="document.title = this.contentDocument.documentElement.scrollWidth"></iframe>"""
"""A browser's own window can't be as narrow as a telephone."""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser to open a page in ({', '.join(BROWSERS)})")
    return found


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page, in a language; (its elements as they are then, the console)."""

    def open_page(content: bytes, *, language: str = "en-US"):
        file = tmp_path / "page.html"
        file.write_bytes(content)
        options = [f"--user-data-dir={tmp_path / 'profile'}"]
        options += [f"--lang={language}", f"--accept-lang={language}", "--dump-dom"]
        command = [browser, *QUIET, *options, file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return open_page


@pytest.mark.parametrize("labels", [TWO, tuple(EVIL + label for label in FOURTEEN)])
def test_the_console_stays_empty(opened, labels):
    """Whatever the page asked of others would stand there too, as the next test shows."""
    elements, console = opened(model_page(made_up_report(labels)))
    assert "reviews@3" in elements
    assert console == []


def test_a_page_that_asks_others_is_told_so_in_the_console(opened):
    asking = model_page(made_up_report()).replace(b"<body>", ASKS)
    _, console = opened(asking)
    assert any("a.png" in line for line in console)
    assert any("b.js" in line for line in console)


@pytest.mark.parametrize(("language", "shown"), [("zh-CN", "zh-CN"), ("en-US", "en"), ("de", "en")])
def test_the_page_opens_in_the_language_of_the_browser(opened, language, shown):
    elements, _ = opened(model_page(made_up_report()), language=language)
    assert f'<html lang="{shown}">' in elements


@pytest.mark.parametrize("labels", [TWO, FOURTEEN])
@pytest.mark.parametrize("language", ["zh-CN", "en-US"])
def test_a_telephone_does_not_scroll_sideways(opened, labels, language):
    document = escape(model_page(made_up_report(labels)).decode())
    elements, _ = opened(FRAME.format(document).encode(), language=language)
    width = int(elements.partition("<title>")[2].partition("</title>")[0])
    assert 300 < width <= 360
