"""A recipe from its file, `--set` and the environment; and what is said about a wrong one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bigmodel.config import Recipe, WeightedSource
from bigmodel.errors import RecipeError
from bigmodel.recipe import (
    KIND_DEFAULTS,
    load_recipe,
    make_recipe,
    merge,
    parse_override,
    with_values,
)

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGMODEL_STORAGE", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a recipe that has a name and data, and these lines."""

    def write(lines: str) -> Path:
        file = tmp_path / "评论.toml"
        file.write_text(f'name = "reviews"\ndata.train = "评论.csv"\n{lines}', encoding="utf-8")
        return file

    return write


def minimal(**sections: Any) -> Recipe:
    return make_recipe({"name": "reviews", "data": {"train": "/评论.csv"}, **sections}, "recipe")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train.epoch = 3", "unknown key train.epoch; did you mean train.epochs?"),
        ("trian.epochs = 3", "unknown key trian; did you mean train?"),
        (
            "serve.limits.item = 9",
            "unknown key serve.limits.item; did you mean serve.limits.items?",
        ),
        ("epochs = 3", "unknown key epochs; known here: name, storage, seed, data"),
        ("tracking.xyz = 3", "unknown key tracking.xyz; known here: uri"),
        ("evaluate.folds = 1", "folds = 1 leaves nothing to train on"),
        ('evaluate.gate.slices = ["城市"]', "has '城市', which is no slice (known: length=…)"),
        ("cluster.max_job = 3", "unknown key cluster.max_job; did you mean cluster.max_jobs?"),
        ("cluster.max_jobs = 0", "cluster.max_jobs = 0: expected a number greater than 0"),
        ('tune.searcher = "optuna"', "expected 'tpe', 'random', 'grid' or 'recipes'"),
        ("train.num_workers = [3, 2]", "num_workers is (3, 2); expected at least 1, or"),
        ("model.residual = true", "residual needs a kind of words (mlp, cnn, rnn, transformer)"),
        ("model.transformer = {width = 30}", "width is 30; expected an even multiple of num_heads"),
        ("train.epochs = 0", "train.epochs = 0: expected a number greater than 0"),
        ("train.learning_rate = inf", "train.learning_rate = inf: expected a finite number"),
        ("seed = -1", "seed = -1: expected a number greater than or equal to 0"),
        ('train.epochs = "三"', "train.epochs = '三': expected a whole number"),
        ("train = 3", "train = 3: expected a table"),
        (
            'model.kind = "svm"',
            "model.kind = 'svm': expected 'linear', 'bag', 'mlp', 'cnn'",
        ),
        ('model.kind = ["mlp"]', "model.kind = ['mlp']: expected 'linear'"),
        ('train.use_gpu = "maybe"', "train.use_gpu = 'maybe': expected true or false"),
        ("model.linear.C = -1", "model.linear: C is -1.0; it must be greater than 0"),
        ("model.linear.char_ngrams = 3", "model.linear.char_ngrams = 3: expected a list"),
        ("model.linear.char_ngrams = [1]", "model.linear.char_ngrams: too short a list"),
        ("model.linear.char_ngrams = [1, 2, 3]", "list should have at most 2 items, not 3"),
        ("model.linear.char_ngrams = [4, 1]", "[4, 1] is not a range of lengths within 1 to 8"),
        ("model.mlp.hidden_sizes = [64, 0]", "hidden_sizes is [64, 0]; each must be at least 1"),
        ("data.split = {valid = 0.5, test = 0.5}", "leave no rows to train on"),
        ("serve.min_replicas = 5", "serve: min_replicas is 5, above max_replicas (2)"),
        ("tune.space = 3", "tune.space = 3: expected a table"),
        (
            "tune.space.train.epochs = {int = [1, 3]}",
            'in tune.space, write a dotted key in quotes: "train.epochs"',
        ),
        (
            'tune.space."train.epoch" = {int = [1, 3]}',
            "in tune.space, unknown key train.epoch; did you mean train.epochs?",
        ),
        (
            'tune.space."train.epochs" = {int = [0, 3]}',
            "in tune.space, train.epochs = 0: expected a number greater than 0",
        ),
        (
            'tune.space."train.epochs" = {int = [3, 1]}',
            "tune.space.train.epochs: int = [3, 1] is not a range of numbers, low before high",
        ),
        (
            'tune.space."train.epochs" = {int = [1, 3], choice = [4]}',
            "tune.space.train.epochs: give exactly one of log, range, int and choice",
        ),
        ('tune.space."train.epochs" = {log = [0, 3]}', "is not a range of numbers"),
        ("nonsense", "not a TOML file"),
    ],
)
def test_a_wrong_recipe_is_explained_in_one_sentence(write: Write, line: str, said: str) -> None:
    file = write(line)
    with pytest.raises(RecipeError) as error:
        load_recipe(file)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key name; it is required"),
        ('name = "reviews"', "no key data; it is required"),
        ('name = "reviews"\n[data]', "no key data.train; it is required"),
        ('name = "reviews"\ndata.train = ""', "data.train.0.path = '': string should have at"),
        ('name = "评论"\ndata.train = "a"', "name = '评论': expected at most 63 letters, digits"),
    ],
)
def test_name_and_data_are_required(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(file)
    assert said in str(error.value)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"没有\.toml: can't read the recipe \(No such file"):
        load_recipe(tmp_path / "没有.toml")
    with pytest.raises(RecipeError, match="can't read the recipe"):
        load_recipe(tmp_path)
    (tmp_path / "gbk.toml").write_bytes('name = "评论"'.encode("gbk"))
    with pytest.raises(RecipeError, match="not a TOML file"):
        load_recipe(tmp_path / "gbk.toml")


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('name = "reviews"\ndata.train = "评论.csv"', encoding="utf-8-sig")
    assert load_recipe(file).name == "reviews"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("train.epochs=3", {"train": {"epochs": 3}}),
        (" train . epochs = 3 ", {"train": {"epochs": 3}}),
        ("train.learning_rate=1e-3", {"train": {"learning_rate": 0.001}}),
        ("text.hmm=true", {"text": {"hmm": True}}),
        ("name=reviews", {"name": "reviews"}),
        ('name="reviews"', {"name": "reviews"}),
        ("data.train=s3://桶/a=b.csv", {"data": {"train": "s3://桶/a=b.csv"}}),
        ("model.mlp.hidden_sizes=[64, 32]", {"model": {"mlp": {"hidden_sizes": [64, 32]}}}),
        ("data.split={valid=0.2}", {"data": {"split": {"valid": 0.2}}}),
        ("data.label_column=", {"data": {"label_column": ""}}),
        (
            "tune.space.model.linear.C={log=[0.1, 2]}",
            {"tune": {"space": {"model.linear.C": {"log": [0.1, 2]}}}},
        ),
        ('tune.space."seed"={int=[0, 9]}', {"tune": {"space": {"seed": {"int": [0, 9]}}}}),
    ],
)
def test_an_override_is_a_dotted_key_and_a_toml_value(text: str, parsed: dict[str, Any]) -> None:
    assert parse_override(text) == parsed


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train.=3", ".epochs=3", ""])
def test_an_override_without_key_or_sign_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"expected section\.key=value, as in train\.epochs=3"):
        parse_override(text)


def test_kind_goes_before_defaults_file_before_kind_and_set_before_file(write: Write) -> None:
    bag = KIND_DEFAULTS["bag"]["train"]["learning_rate"]
    assert load_recipe(write("")).train.learning_rate == 1e-3 != bag
    assert load_recipe(write('model.kind = "bag"')).train.learning_rate == bag
    assert load_recipe(write(""), ["model.kind=bag"]).train.learning_rate == bag
    file = write('model.kind = "bag"\ntrain.learning_rate = 0.5')
    assert load_recipe(file).train.learning_rate == 0.5
    assert load_recipe(file, ["train.learning_rate=0.25"]).train.learning_rate == 0.25
    last = ["train.learning_rate=0.25", "train.learning_rate=0.125"]
    assert load_recipe(file, last).train.learning_rate == 0.125


def test_an_override_replaces_a_list_or_a_dimension_whole_and_joins_a_table(write: Write) -> None:
    file = write(
        "model.mlp.hidden_sizes = [64, 32]\n"
        "data.split = {valid = 0.2, test = 0.3}\n"
        'tune.space = {"seed" = {int = [0, 9]}, "train.epochs" = {int = [1, 3]}}'
    )
    recipe = load_recipe(
        file,
        [
            "model.mlp.hidden_sizes=[8]",
            "data.split={test=0.1}",
            "tune.space.seed={choice=[1, 2]}",
        ],
    )
    assert recipe.model.mlp.hidden_sizes == (8,)
    assert (recipe.data.split.valid, recipe.data.split.test) == (0.2, 0.1)
    assert recipe.tune is not None
    assert recipe.tune.space["seed"].choice == (1, 2)
    assert recipe.tune.space["train.epochs"].integer == (1, 3)


def test_paths_start_where_they_were_written(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "当前"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", "/home/小明")
    file = write(
        'data.valid = "../v.csv"\ndata.test = "s3://桶/t.csv"\n'
        'text.user_dictionary = "/词典.txt"\ntext.stop_words = "~/停用词.txt"\nstorage = "out"'
    )
    recipe = load_recipe(file)
    assert recipe.data.train == (WeightedSource(path=str(tmp_path / "评论.csv")),)
    assert recipe.data.valid == str(tmp_path.parent / "v.csv")
    assert recipe.data.test == "s3://桶/t.csv"
    assert recipe.text.user_dictionary == "/词典.txt"
    assert recipe.text.stop_words == "/home/小明/停用词.txt"
    assert recipe.storage == str(tmp_path / "out")
    (other,) = load_recipe(file, ["data.train=别的.csv"]).data.train
    assert other.path == str(here / "别的.csv")
    both = load_recipe(file, ['data.train=[{path="别的.csv"},{path="s3://桶/旧.csv",weight=0.1}]'])
    found = [(source.path, source.weight) for source in both.data.train]
    assert found == [(str(here / "别的.csv"), 1.0), ("s3://桶/旧.csv", 0.1)]
    assert load_recipe(file, ["storage=out"]).storage == str(here / "out")


@pytest.mark.parametrize(
    ("flag", "override", "environment", "line", "chosen"),
    [
        (None, None, None, "", "{here}/storage"),
        (None, None, None, 'storage = "a"', "{file}/a"),
        (None, None, "b", 'storage = "a"', "{here}/b"),
        (None, "storage=c", "b", 'storage = "a"', "{here}/c"),
        ("d", "storage=c", "b", 'storage = "a"', "{here}/d"),
        (None, None, "", 'storage = "a"', "{file}/a"),
        (None, "storage=", None, 'storage = "a"', "{here}/storage"),
        ("s3://桶/x", None, None, "", "s3://桶/x"),
    ],
)
def test_storage_is_flag_then_override_then_environment_then_file_then_here(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flag: str | None,
    override: str | None,
    environment: str | None,
    line: str,
    chosen: str,
) -> None:
    here = tmp_path / "当前"
    here.mkdir()
    monkeypatch.chdir(here)
    if environment is not None:
        monkeypatch.setenv("BIGMODEL_STORAGE", environment)
    recipe = load_recipe(write(line), [override] if override else [], storage=flag)
    assert recipe.storage == chosen.format(here=here, file=tmp_path)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('storage = "s3://AKIA3:秘密/x+y@桶/a"', "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ('tracking.uri = "https://ming:秘密@mlflow:5000"', "MLFLOW_TRACKING_USERNAME and MLFLOW_"),
    ],
)
def test_a_password_in_a_uri_is_refused_and_not_repeated(
    write: Write, line: str, instead: str
) -> None:
    with pytest.raises(RecipeError, match=instead) as error:
        load_recipe(write(line))
    assert "秘密" not in str(error.value)


@pytest.mark.parametrize("uri", ["http://mlflow:5000/a@b", "s3://桶/a:b@c", "http://[::1]:5000"])
def test_a_port_or_a_path_is_no_password(write: Write, uri: str) -> None:
    assert load_recipe(write(""), [f"tracking.uri={uri}"]).tracking.uri == uri


def test_a_home_folder_that_nobody_has_is_named(write: Write) -> None:
    with pytest.raises(RecipeError, match="~nobody-here/x: this machine knows no such home folder"):
        load_recipe(write(""), storage="~nobody-here/x")


def test_a_recipe_is_frozen() -> None:
    recipe = minimal()
    for section, key in ((recipe, "seed"), (recipe.train, "epochs"), (recipe.data.split, "valid")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)


def test_a_recipe_survives_its_own_json() -> None:
    space = {"train.learning_rate": {"log": [0.0001, 0.01]}, "seed": {"range": [0, 1]}}
    recipe = minimal(model={"kind": "mlp"}, tune={"space": space})
    assert Recipe.model_validate_json(recipe.model_dump_json(by_alias=True)) == recipe


def test_with_values_changes_dotted_keys_and_nothing_else() -> None:
    recipe = minimal(model={"kind": "bag"})
    changed = with_values(recipe, {"train.epochs": 3, "model.bag.embedding_size": 8})
    assert (changed.train.epochs, changed.model.bag.embedding_size) == (3, 8)
    assert with_values(changed, {"train.epochs": 10, "model.bag.embedding_size": 32}) == recipe
    assert with_values(recipe, {}) == recipe
    kept = with_values(recipe, {"model.kind": "linear"})
    assert kept.train == recipe.train, "the defaults of the new kind stay away"
    with pytest.raises(RecipeError, match=r"unknown key train\.epoch; did you mean"):
        with_values(recipe, {"train.epoch": 3})
    with pytest.raises(RecipeError, match="expected a number greater than 0"):
        with_values(recipe, {"train.epochs": 0})


QUICKLY = settings(deadline=None, max_examples=50)
KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Path -> value of all that is no table."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= leaves(value, (*path, key))
        else:
            found[*path, key] = value
    return found


@QUICKLY
@given(st.lists(TREES, max_size=4))
def test_of_merged_trees_the_last_word_on_a_key_stands(trees: list[dict[str, Any]]) -> None:
    merged: dict[str, Any] = {}
    for tree in trees:
        merge(merged, tree)
    expected: dict[tuple[str, ...], Any] = {}
    for tree in trees:
        for path, value in leaves(tree).items():
            expected[path] = value
    for path, value in leaves(merged).items():
        assert expected[path] == value
    if trees:
        assert leaves(trees[-1]).items() <= leaves(merged).items()


@QUICKLY
@given(TREES, TREES)
def test_merging_leaves_the_upper_tree_as_it_was(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    before = repr(over)
    merged: dict[str, Any] = {}
    merge(merged, over)
    merge(merged, base)
    assert repr(over) == before


@QUICKLY
@given(
    st.sampled_from(sorted(KIND_DEFAULTS)),
    st.none() | st.integers(1, 99),
    st.lists(st.integers(1, 99), max_size=3),
)
def test_set_goes_before_file_and_file_before_kind(
    kind: str, in_file: int | None, overrides: list[int]
) -> None:
    tree: dict[str, Any] = {
        "name": "reviews",
        "data": {"train": "/评论.csv"},
        "model": {"kind": kind},
    }
    by_kind = make_recipe(tree, "recipe").train.epochs
    if in_file is not None:
        merge(tree, {"train": {"epochs": in_file}})
    for value in overrides:
        merge(tree, parse_override(f"train.epochs={value}"))
    words = [by_kind, *([in_file] if in_file is not None else []), *overrides]
    assert make_recipe(tree, "recipe").train.epochs == words[-1]
