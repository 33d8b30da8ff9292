"""Bad input by every verb: one sentence, its exit code, and nothing half-written."""

import gzip
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bigmodel.registry import Registry

RECIPE = 'name = "small"\nstorage = "storage"\n[data]\ntrain = "评论.csv"\n'
ROWS = "".join(f"第{i}本书很好,正面\n第{i}本书很差,负面\n" for i in range(40))
FILES = {
    "small.toml": RECIPE,
    "no-column.toml": RECIPE + 'label_column = "标签"\n',
    "missing-data.toml": RECIPE.replace("评论", "没有"),
    "empty.toml": RECIPE.replace("评论", "空"),
    "header-only.toml": RECIPE.replace("评论", "表头"),
    "one-class.toml": RECIPE.replace("评论", "好评"),
    "other-label.toml": RECIPE + 'test = "测试.csv"\n',
    "word.toml": RECIPE.replace("csv", "docx"),
    "cut.toml": RECIPE.replace("评论.csv", "残缺.csv.gz"),
    "words.toml": RECIPE + '[text]\nuser_dictionary = "词典.txt"\n',
    "s3.toml": RECIPE.replace(
        "评论.csv", "s3://bucket/评论.csv?endpoint_override=http://127.0.0.1:9"
    ),
    "词典.txt": "机器学习 5 n\n机器 学习 五 n\n",
    "评论.docx": "PK",
    "wrong-key.toml": RECIPE + "[train]\nepoch = 3\n",
    "not.toml": "name = ",
    "评论.csv": f"text,label\n{ROWS}",
    "空.csv": "",
    "表头.csv": "text,label\n",
    "好评.csv": "text,label\n书很好,正面\n书不错,正面\n",
    "测试.csv": "text,label\n书还可以,中性\n",
}
CASES = {
    "no such recipe": ("train nein.toml", 2, "can't read the recipe"),
    "no TOML": ("train not.toml", 2, "not a TOML file"),
    "wrong key": ("train wrong-key.toml", 2, "did you mean train.epochs?"),
    "out of bounds": ("train small.toml --set train.epochs=0", 2, "train.epochs = 0"),
    "no such kind": ("run small.toml --set model.kind=tree", 2, "'linear', 'bag', 'mlp', 'cnn'"),
    "set without a value": ("train small.toml --set epochs", 2, "expected section.key=value"),
    "set of an unknown key": ("tune small.toml --set foo.bar=1", 2, "unknown key foo"),
    "wrong search space": ("tune small.toml --set tune.num_trials=0", 2, "tune.num_trials = 0"),
    "file without out": ("predict tiny --file 评论.csv", 2, "--file IN and --out OUT go together"),
    "no data file": ("run missing-data.toml", 3, "没有.csv: can't read the data"),
    "unknown kind of file": ("run word.toml", 3, "评论.docx: unknown kind of file; expected .csv"),
    "a gzip that ends too soon": ("run cut.toml", 3, "ends in the middle of its data"),
    "a dictionary with a bad line": ("prepare words.toml", 3, "line 2: "),
    "no such column": ("run no-column.toml", 3, "no column '标签' (found: text, label)"),
    "empty file": ("prepare empty.toml", 3, "空.csv: the file is empty"),
    "header only": ("tune header-only.toml", 3, "表头.csv: no rows after the header"),
    "nothing to score": ("evaluate tiny --data 表头.csv", 3, "no usable rows"),
    "label unknown to a model": ("evaluate tiny --data 测试.csv", 3, "unknown label '中性'"),
    "damaged artefact": ("predict damaged 书很好", 4, "weights.safetensors is damaged"),
    "damaged, to serve": ("serve damaged", 4, "weights.safetensors is damaged"),
    "half-written artefact": ("predict half 书很好", 4, "no artefact there"),
    "exchanged artefact": ("predict small@2 书很好", 4, "somebody exchanged it"),
    "no artefact": ("evaluate nowhere", 4, "no artefact there"),
    "unknown model": ("predict other@1 书很好", 4, "no model 'other'"),
    "unknown version": ("serve small@9", 4, "small has no version 9 (found: 1, 2)"),
    "unknown alias": ("predict small@champion 书很好", 4, "small has no alias 'champion'"),
    "promote the unknown": ("models promote small@9 champion", 4, "small has no version 9"),
    "nothing to roll back": ("models rollback small", 4, "nothing to roll back"),
    "deploy without a cluster": ("deploy tiny", 5, "deploy needs a cluster"),
    "nobody at the endpoint": ("prepare s3.toml", 5, "nobody answers"),
    "port in use": ("serve tiny --port PORT", 5, "(Address already in use)"),
    "port of a kept endpoint": ("run small.toml --keep --port PORT", 5, "choose another --port"),
    "no cluster there": (
        "train small.toml --storage /shared --cluster http://127.0.0.1:CLOSED",
        5,
        "no Ray cluster answers there",
    ),
}
NEED_RAY = {
    "one class only": ("run one-class.toml", 3, "only the label '正面'"),
    "unknown label in the test split": ("train other-label.toml", 3, "unknown label '中性'"),
}
ONE_OF_EACH_CODE = [
    "wrong key",
    "no data file",
    "unknown version",
    "damaged artefact",
    "port in use",
]
"""By verbs that import different things."""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_uri) -> Path:
    """A folder with everything that the cases name; small@2 isn't what was published."""
    folder = tmp_path_factory.mktemp("bad")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "残缺.csv.gz").write_bytes(gzip.compress(FILES["评论.csv"].encode())[:-40])
    for name in ("tiny", "damaged", "half"):
        shutil.copytree(tiny_uri, folder / name)
    weights = folder / "damaged" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-9] ^= 1
    weights.write_bytes(data)
    (folder / "half" / "manifest.json").unlink()
    registry = Registry(str(folder / "storage"))
    for digest in (registry.resolve(tiny_uri).digest, "0" * 64):
        registry.publish("small", str(folder / "tiny"), digest=digest, metrics={}, run_id="")
    return folder


@pytest.fixture(scope="module")
def ports():
    """(one that is taken, one where nobody listens)"""
    with socket.socket() as taken, socket.socket() as closed:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        closed.bind(("127.0.0.1", 0))
        yield str(taken.getsockname()[1]), str(closed.getsockname()[1])


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file, without MLflow's own, whose database may change."""
    found = (path for path in folder.rglob("*") if "mlflow" not in path.parts)
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def check(ask: Callable, written: str, code: int, sentence: str, *, place: Path, ports: tuple):
    arguments = written.replace("PORT", ports[0]).replace("CLOSED", ports[1]).split()
    before = files_of(place)
    done = ask(*arguments, "--json", "-q", cwd=place)
    assert done.err.startswith("bigmodel: ") and done.err.count("\n") == 1, done.err
    assert sentence in done.err
    assert (done.code, done.out) == (code, "")
    assert files_of(place) == before


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_an_exit_code(case, place, ports, here):
    check(here, *CASES[case], place=place, ports=ports)


LONGER = [
    pytest.param(case, marks=pytest.mark.chaos)
    for case in [*CASES, *NEED_RAY]
    if case not in ONE_OF_EACH_CODE
]


@pytest.mark.parametrize("case", [*ONE_OF_EACH_CODE, *LONGER])
def test_the_real_command_says_and_writes_nothing_else(case, place, ports, run):
    ask = partial(run, ray=case in NEED_RAY)
    check(ask, *(CASES | NEED_RAY)[case], place=place, ports=ports)
