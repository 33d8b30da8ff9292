"""The page of a search in a real browser: nothing goes wrong, on a telephone and in the dark."""

import pytest
from browser import installed, open_browser
from made_up_search import made_up_search

from bigmodel.pages.search_page import search_page


@pytest.mark.skipif(installed() is None, reason="no browser to open a page in")
@pytest.mark.parametrize(
    ("language", "said"), [("en-US", "Trial 9 is the best"), ("zh-CN", "试验 9")]
)
def test_the_page_of_a_search_asks_nobody_and_fits(tmp_path, language, said):
    file = tmp_path / "search.html"
    file.write_bytes(search_page(made_up_search()))
    with open_browser(tmp_path / "profile", language=language) as browser:
        for width, dark in ((360, False), (1000, True)):
            browser.screen(width, dark=dark)
            browser.open(file.as_uri())
            assert said in browser.shown(".verdict")
            assert browser.see("document.documentElement.scrollWidth") <= width
            assert browser.see("document.querySelectorAll('polyline').length") > 20
        assert browser.problems == [] and set(browser.asked) == {file.as_uri()}
