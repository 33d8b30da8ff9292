"""`bigmodel keys`: what it prints, what it keeps, how it ends."""

import json
import re
import shlex
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.datastructures import Headers

from jobs.cli import main
from serve.keys import KeyRing

WRITTEN = re.compile(r"bmk_[0-9a-f]{8}_[A-Za-z0-9]{32}")


@pytest.fixture
def keys(tmp_path):
    """Calls `bigmodel keys …` on a storage of its own."""

    def run(*arguments: str) -> Result:
        storage = str(tmp_path / "存储")
        return CliRunner().invoke(main, ["keys", *arguments, "--storage", storage])

    run.file = tmp_path / "存储" / "keys"
    return run


def made(done: Result) -> dict[str, object]:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_add_shows_the_key_once_and_a_line_to_try_it(keys):
    done = keys("add", "商城", "--rate", "2.5", "--days", "30")
    assert (done.exit_code, done.stderr) == (0, "")
    written = WRITTEN.search(done.stdout).group()
    line = shlex.split(done.stdout[done.stdout.index("curl ") :])
    assert line[:2] == ["curl", "http://127.0.0.1:8000/v1/classify"]
    assert f"Authorization: Bearer {written}" in line
    assert json.loads(line[line.index("-d") + 1])["inputs"]
    ring = KeyRing(str(keys.file.parent))
    assert ring.check(Headers({"Authorization": f"Bearer {written}"}), "predict") in written
    for later in (keys("list"), keys("list", "--json"), keys("list", "--debug")):
        assert "商城" in later.stdout and written[13:] not in later.stdout + later.stderr
    assert written[13:] not in keys.file.read_text()


def test_json_holds_all_of_it(keys):
    row = made(keys("add", "商城", "--rate", "2.5", "--days", "30", "--json"))
    assert WRITTEN.fullmatch(row["key"]) and row["key"].split("_")[1] == row["id"]
    assert (row["name"], row["scopes"], row["rate"]) == ("商城", ["predict", "metadata"], 2.5)
    lasts = datetime.fromisoformat(row["expires"]) - datetime.fromisoformat(row["created"])
    assert lasts.days == 30
    (listed,) = made(keys("list", "--json"))
    assert listed == {key: row[key] for key in row if key not in ("key", "curl")}


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ("predict", ["predict"]),
        ("metadata", ["metadata"]),
        (" metadata, predict,metadata", ["predict", "metadata"]),
    ],
)
def test_scopes_are_one_or_both(keys, given, scopes):
    row = made(keys("add", "商城", "--scope", given, "--json"))
    assert row["scopes"] == scopes
    assert ("/v1/classify" in row["curl"]) == ("predict" in scopes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "商城", "--scope", "admin"], "no scope 'admin'"),
        (["add", "商城", "--scope", ""], "no scope ''"),
        (["add", "商城", "--rate", "0"], "rate: Input should be greater than 0"),
        (["add", "商城", "--rate", "inf"], "rate: Input should be a finite number"),
        (["add", "商城", "--rate", "nan"], "rate"),
        (["add", "商城", "--days", "0"], "Invalid value for '--days'"),
        (["add", " "], "the name is blank"),
        (["add", "红\x1b[31m"], "control characters"),
        (["add"], "Missing argument"),
        (["revoke", "00000000"], "no key has the id '00000000'"),
        (["revoke", "bmk_"], "no key has the id ''"),
    ],
)
def test_a_wrong_command_is_2_and_makes_no_key(keys, arguments, said):
    done = keys(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert made(keys("list", "--json")) == []


def test_no_keys_yet(keys):
    assert "bigmodel keys add NAME" in keys("list").stdout


def test_revoke_takes_the_id_or_the_whole_key_of_which_the_secret_is_not_said(keys):
    first, second = (made(keys("add", name, "--json")) for name in ("商城", "运维"))
    assert made(keys("revoke", first["id"], "--json"))["name"] == "商城"
    assert made(keys("revoke", second["key"], "--json"))["id"] == second["id"]
    again = keys("revoke", second["key"])
    assert again.exit_code == 2
    assert second["id"] in again.stderr and second["key"][13:] not in again.output
    assert made(keys("list", "--json")) == []


def test_an_unknown_id_is_told_which_there_are(keys):
    row = made(keys("add", "商城", "--json"))
    done = keys("revoke", "00000000")
    assert f"{row['id']} (商城)" in done.stderr and done.stderr.count("\n") == 1


def test_a_file_that_others_can_read_is_2(keys):
    made(keys("add", "商城", "--json"))
    keys.file.chmod(0o644)
    for arguments in (["list"], ["add", "运维"], ["revoke", "00000000"]):
        done = keys(*arguments)
        assert done.exit_code == 2
        assert f"chmod 600 {keys.file}" in done.stderr
    assert Path(keys.file).stat().st_mode & 0o777 == 0o644


def test_people_see_all_keys_by_name(keys):
    for name in ("商城", "运维"):
        made(keys("add", name, "--days", "7", "--json"))
    shown = keys("list").stdout
    assert [name for name in ("商城", "运维") if name in shown] == ["商城", "运维"]
