"""Marks by folder, and what several kinds of test share: the data, one tiny model, one Ray."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from tiny import tiny_recipe

from bigmodel.artifact import Artifact
from bigmodel.cluster.session import ray_session
from bigmodel.data.schema import LabelSet
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.tracking import open_client
from bigmodel.training.fitting import fit_weights
from bigmodel.training.rows import Rows, TrainingData
from bigmodel.training.team import Team

HERE = Path(__file__).parent
# a busy machine is no failure; 30 examples keep the unit tests under half a minute
settings.register_profile("bigmodel", deadline=None, max_examples=30)
settings.load_profile("bigmodel")
torch.set_num_threads(1)  # as a worker: the same sums on every machine

GOOD = """书很好看，一口气读完
物流很快，包装完好，五星好评
房间干净，服务热情，下次还来
味道不错，还会再来的
手机很流畅，电池耐用，值得买
质量很好，颜色漂亮，非常满意
性价比高，推荐给大家
内容充实，我很喜欢这本书
屏幕清晰，音质不错，满意
早餐丰富，位置方便，前台热情
面料舒服，做工精细，很喜欢
水果新鲜，又大又甜，好评""".splitlines()
BAD = """书太无聊，读不下去
物流太慢，包装破了，差评
房间很脏，服务态度恶劣
味道太差，不会再来了
手机很卡，电池不耐用，后悔买
质量太差，颜色难看，很失望
价格太贵，不推荐大家买
内容空洞，纸张粗糙，失望
屏幕模糊，音质很差，要退货
早餐难吃，位置偏僻，前台冷淡
面料扎人，做工粗糙，不值
水果不新鲜，烂了一半，差评""".splitlines()

TrainTiny = Callable[..., Artifact]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(item.path.relative_to(HERE).parts[0])


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The public data sets beside the repository, or where BIGMODEL_TEST_DATA says."""
    default = HERE.parent.parent / "shared" / "data"
    found = Path(os.environ.get("BIGMODEL_TEST_DATA", default))
    if not found.is_dir():
        pytest.skip(f"no data sets at {found}; name their folder in BIGMODEL_TEST_DATA")
    return found


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """One Ray on this machine for all integration tests."""
    with ray_session(num_cpus=4):
        yield


@pytest.fixture(scope="session")
def new_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with MLflow's database, which takes seconds to make: for copies alone."""
    storage = tmp_path_factory.mktemp("new-storage")
    open_client(str(storage), None)
    return storage


@pytest.fixture(scope="session")
def reviews() -> list[tuple[str, str]]:
    """24 short reviews with their labels, alternately good and bad."""
    pairs = zip(GOOD, BAD, strict=True)
    return [row for good, bad in pairs for row in ((good, "正面"), (bad, "负面"))]


@pytest.fixture(scope="session")
def train_tiny(reviews: list[tuple[str, str]]) -> TrainTiny:
    """A kind of model -> an unsealed artefact trained on the reviews, which are its valid rows too.

    Sections of the recipe may be given by name; without them, one training a kind and session.
    """

    def train(kind: str, **sections: Any) -> Artifact:
        recipe = tiny_recipe(kind, **sections)
        texts, named = map(list, zip(*reviews, strict=True))
        labels = LabelSet.of(named)
        plan = EncoderRecipe.of(recipe)
        encoder = plan.fit_on(texts)
        rows, truth = encoder.encode(texts), labels.ids(named, where="reviews")
        one = np.ones(len(truth), np.float32)
        given = Rows(rows, truth, one)
        data = TrainingData.of(encoder, labels.names, given, given)
        weights = fit_weights(recipe, data, Team())
        model = data.new_model(recipe.model)
        model.load_state_dict(weights.state)
        last = weights.history[-1]
        metrics = {"split": "valid", "accuracy": last.accuracy, "macro_f1": last.macro_f1}
        metrics |= {"rows": len(truth)}
        return Artifact(recipe, labels, encoder, model.eval(), metrics=metrics)

    once = cache(train)
    return lambda kind, **sections: train(kind, **sections) if sections else once(kind)


@pytest.fixture(scope="session")
def tiny_uri(train_tiny: TrainTiny, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the tiny linear model; a test that damages it takes a copy."""
    uri = str(tmp_path_factory.mktemp("models") / "tiny")
    train_tiny("linear").save(uri)
    return uri


@pytest.fixture(scope="session")
def tiny(tiny_uri: str) -> Artifact:
    """The tiny linear model as it is loaded from there."""
    return Artifact.load(tiny_uri)
