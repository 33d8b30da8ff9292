"""The commands of the pages for people: the same in both languages, and each of them exists."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

from jobs.cli import main

ROOT = Path(__file__).parents[2]
BORROWED = {"aws", "curl", "export", "mkdir", "ray", "source"}
"""Programs of others that the pages call; what `ray job submit` runs is ours again."""
PAGES = {"README.md": "README.zh.md", "docs/clusters.md": "docs/clusters.zh.md"}


def commands(name: str) -> list[str]:
    """The lines after a `$` in the file's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_commands(page):
    assert commands(page) == commands(PAGES[page]) != []


@pytest.mark.parametrize("written", [written for page in PAGES for written in commands(page)])
def test_a_command_of_the_pages_exists(written):
    words = shlex.split(written, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
    elif words[0] == "bigmodel":
        parse(main, words[1:])
    elif "jobs." in written:
        (module,) = [place for place, word in enumerate(words) if word.startswith("jobs.")]
        parse(import_module(words[module]).main, words[module + 1 :])
    else:
        assert words[0] in BORROWED


def parse(command: click.Command, arguments: list[str]) -> None:
    """UsageError where a verb, an option or an argument isn't one of the command's."""
    if not isinstance(command, click.Group):
        command.make_context(command.name, list(arguments))
        return
    _, verb, rest = command.resolve_command(click.Context(command), list(arguments))
    assert verb
    parse(verb, rest)
