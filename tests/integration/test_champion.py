"""Who becomes champion in a real registry: by the gate, or by force."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from bigmodel.data.prepared import write_arrow
from bigmodel.data.split import key64
from bigmodel.errors import ModelError
from bigmodel.evaluation.answers import answer
from bigmodel.evaluation.beside import OWN
from bigmodel.evaluation.labelled import Labelled
from bigmodel.predictor import Predictor
from bigmodel.registry import Registry
from bigmodel.text.normalize import normalize
from jobs.evaluate import evaluate
from jobs.gate import promote
from jobs.versions import beside


@pytest.fixture
def publish(tiny, reviews, new_storage, tmp_path):
    """Publish the tiny model as a version, with test rows of its own that it doesn't know."""
    shutil.copytree(new_storage, tmp_path, dirs_exist_ok=True)
    registry = Registry(str(tmp_path))

    def publish(*, temperature=1.0):
        artifact = replace(tiny, temperature=temperature)
        uri = str(tmp_path / "models" / f"{temperature}")
        digest = artifact.save(uri)
        version = registry.publish("tiny", uri, digest=digest, metrics={}, run_id="")
        ends = np.random.default_rng(0).integers(0x5000, 0x9000, (20, len(reviews), 12))
        texts = [
            text + "".join(map(chr, end))  # long enough not to be near each other
            for some in ends
            for (text, _), end in zip(reviews, some.tolist(), strict=True)
        ]
        labels = [label for _ in range(20) for _, label in reviews]
        rows = Labelled(texts, labels, np.arange(len(texts)))
        truth = artifact.labels.ids(labels, where="rows")
        own = beside(version, str(tmp_path))
        own.keep_answers(OWN, rows, answer(Predictor(artifact), texts, truth, rows.unit))
        write_arrow(own.place, "known.arrow", pa.table({"key": np.zeros(0, np.int64)}))
        return version

    return registry, publish


def moved(registry, version, tmp_path, **options):
    return promote(version, registry, storage=str(tmp_path), **options)


def test_an_equal_one_takes_over_and_the_decision_stays_in_its_report(publish, tmp_path):
    registry, publish = publish
    first, second = publish(), publish(temperature=2.0)
    assert moved(registry, first, tmp_path)[1] == {
        "passed": True, "why": "it is the first champion"
    }  # fmt: skip
    _, said = moved(registry, second, tmp_path)
    assert said["passed"] and said["rows"] == 480 and said["champion"] == "tiny@1"
    again = evaluate(second, storage=str(tmp_path))
    assert again["gate"] == said and beside(second, str(tmp_path)).report()["gate"] == said
    _, sitting = moved(registry, second, tmp_path)
    assert sitting == said


def test_a_broken_champion_is_replaced_by_force_alone(publish, tmp_path):
    registry, publish = publish
    first, second = publish(), publish(temperature=2.0)
    moved(registry, first, tmp_path)
    shutil.rmtree(first.uri)
    with pytest.raises(ModelError, match="the champion tiny@1 can't be asked .*--force WHY"):
        moved(registry, second, tmp_path)
    assert registry.current("tiny", "champion") == 1
    version, said = moved(registry, second, tmp_path, force="它坏了")
    assert version.version == 2 and version.aliases == ("champion",) and not said["passed"]
    assert registry.moves("tiny")[-1].why == "它坏了"


def test_two_versions_of_the_same_bytes_have_reports_of_their_own(publish, tmp_path):
    registry, publish = publish
    first, second = publish(), publish()
    assert first.digest == second.digest
    for version in (first, second):
        evaluate(version, storage=str(tmp_path))
    models = [beside(version, str(tmp_path)).report()["model"] for version in (first, second)]
    assert models == ["tiny@1", "tiny@2"]


def test_rows_that_a_model_knows_are_counted_where_a_file_is_scored(publish, tmp_path, reviews):
    _, publish = publish
    version = publish()
    file = tmp_path / "评论.csv"
    rows = [f"{text},{label}" for text, label in reviews]
    file.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    own = beside(version, str(tmp_path))
    assert evaluate(version, storage=str(tmp_path), data=str(file))["known_rows"] == 0
    keys = np.sort(np.array([key64(normalize(text)) for text, _ in reviews[:7]], np.int64))
    write_arrow(own.place, "known.arrow", pa.table({"key": keys}))
    assert evaluate(version, storage=str(tmp_path), data=str(file))["known_rows"] == 7
