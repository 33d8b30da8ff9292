"""The page to try a model, as it leaves the endpoint."""

import re
import tomllib
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

import serve.page
from serve.page.page import page_app

HERE = Path(serve.page.__file__).parent


@pytest.fixture(scope="module")
def page():
    return page_app()


def text(page) -> str:
    return bytes(page.body).decode()


def test_its_rules_allow_its_own_style_and_script_and_nothing_else(page):
    rules = dict(
        rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";")
    )
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'"
    for tag in ("style", "script"):
        ((_, inside),) = re.findall(rf"<{tag}( [^>]*)?>(.*?)</{tag}>", text(page), re.DOTALL)
        digest = b64encode(sha256(inside.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_it_names_no_other_place(page):
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", text(page))
    assert not re.search(
        r"<(img|iframe|object|script src)|\son\w+=|\s(src|style|action)=", text(page)
    )


def test_its_parts_are_installed_with_it():
    with open("pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["serve"]
    installed = {part for pattern in patterns for part in HERE.parent.glob(pattern)}
    assert installed >= {part for part in HERE.iterdir() if part.suffix in (".html", ".css", ".js")}
