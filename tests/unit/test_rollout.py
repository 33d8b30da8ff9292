"""What a replica makes of a wish, what wishes follow on each other, and who deploys first."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.artifact import Artifact
from bigmodel.data.schema import LabelSet
from bigmodel.errors import ModelError
from serve.loading import Loader, load
from serve.models import Models
from serve.outcomes import LEASE_S, Outcomes
from serve.wanted import Outcome, Pinned, Wanted, Wish, first_wish

Saved = Callable[..., Pinned]


@pytest.fixture
def saved(tiny: Artifact, tmp_path: Path) -> Saved:
    """A version's number, and fields that differ from the tiny model's -> where it was saved."""

    def save(version: int, **fields: Any) -> Pinned:
        parts = {"recipe": tiny.recipe, "labels": tiny.labels, "encoder": tiny.encoder}
        artifact = Artifact(**({**parts, "model": tiny.model} | fields))
        uri = str(tmp_path / f"reviews-{version}")
        return Pinned(uri=uri, digest=artifact.save(uri), version=str(version))

    return save


def with_nan(tiny: Artifact) -> torch.nn.Module:
    """The tiny model with one weight that no golden text meets."""
    import copy

    model = copy.deepcopy(tiny.model)
    largest = max(model.state_dict().values(), key=lambda weights: weights.numel())
    largest.view(-1)[-1] = float("nan")
    return model


class Replica:
    """A loader, what it answers with, and what it told."""

    def __init__(self) -> None:
        self.models, self.told = Models(), list[Outcome]()
        self._loader = Loader(self.models, default="reviews", report=self.told.append)

    def make(self, wish: Wish) -> Outcome:
        outcome = self._loader.begin(wish).result()
        assert outcome is not None and outcome == self.told[-1]
        return outcome

    def serving(self) -> dict[str, str]:
        return {
            name: served.version for name in self.models.names if (served := self.models.get(name))
        }


def test_a_better_version_takes_the_place_of_the_one_before(saved: Saved) -> None:
    replica, first = Replica(), first_wish("reviews", saved(7))
    replica.make(first)
    held = replica.models.default
    outcome = replica.make(first.with_model("reviews", saved(8)))
    assert (outcome.refused, outcome.serving) == ("", {"reviews": "8"})
    assert held and held.version == "7" and held.predictor.predict(["书很好看"])


def damaged(saved: Saved, tiny: Artifact) -> Pinned:
    version = saved(8)
    file = Path(version.uri, "weights.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return version


def exchanged(saved: Saved, tiny: Artifact) -> Pinned:
    return saved(8).model_copy(update={"digest": "0" * 64})


def nan_weights(saved: Saved, tiny: Artifact) -> Pinned:
    return saved(8, model=with_nan(tiny))


def other_labels(saved: Saved, tiny: Artifact) -> Pinned:
    return saved(8, labels=LabelSet(("好评", "差评")))


def gone(saved: Saved, tiny: Artifact) -> Pinned:
    version = saved(8)
    shutil.rmtree(version.uri)
    return version


BAD = {
    damaged: "damaged",
    exchanged: "exchanged",
    nan_weights: "NaN",
    other_labels: "added: 好评, 差评; gone: 正面, 负面",
    gone: "no such artefact",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_version_is_refused_and_the_one_before_answers(
    make: Callable[[Saved, Artifact], Pinned], saved: Saved, tiny: Artifact
) -> None:
    replica, first = Replica(), first_wish("reviews", saved(7))
    replica.make(first)
    before = replica.models.default
    bad = first.with_model("reviews", make(saved, tiny))
    outcome = replica.make(bad)
    assert BAD[make] in outcome.refused
    assert (outcome.wanted, outcome.serving) == ({"reviews": "8"}, {"reviews": "7"})
    assert replica.models.default is before

    back = replica.make(first.again(after=bad))
    assert (back.refused, back.generation) == ("", 3)
    assert replica.models.default is before, "the version that answers is not loaded again"


def test_other_labels_are_taken_where_the_deployer_said_so(saved: Saved, tiny: Artifact) -> None:
    replica, first = Replica(), first_wish("reviews", saved(7))
    replica.make(first)
    wish = first.with_model("reviews", other_labels(saved, tiny), other_labels=True)
    assert replica.make(wish).refused == ""
    assert replica.make(wish.rolled_back("reviews")).serving == {"reviews": "7"}


def test_a_version_with_other_labels_gives_way_where_another_replica_refused_it(
    saved: Saved, tiny: Artifact
) -> None:
    replica, first = Replica(), first_wish("reviews", saved(7))
    replica.make(first)
    wish = first.with_model("reviews", other_labels(saved, tiny), other_labels=True)
    replica.make(wish)
    assert replica.make(first.again(after=wish)).serving == {"reviews": "7"}


def test_a_new_replica_takes_the_version_before_where_the_new_one_is_bad(
    saved: Saved, tiny: Artifact
) -> None:
    replica = Replica()
    wish = first_wish("reviews", saved(7)).with_model("reviews", damaged(saved, tiny))
    outcome = replica.make(wish)
    assert "damaged" in outcome.refused and outcome.serving == {"reviews": "7"}


def test_a_new_replica_without_any_good_version_has_none_and_does_not_raise(
    saved: Saved, tiny: Artifact
) -> None:
    outcome = Replica().make(first_wish("reviews", gone(saved, tiny)))
    assert "no such artefact" in outcome.refused and outcome.serving == {}


def test_another_name_is_one_model_more_and_the_default_stays(saved: Saved) -> None:
    wish = first_wish("reviews", saved(7)).with_model("a-first-name", saved(3))
    replica = Replica()
    assert replica.make(wish).serving == {"reviews": "7", "a-first-name": "3"}
    assert replica.models.default is replica.models.get("reviews")
    assert replica.make(first_wish("reviews", saved(8))).serving == {"reviews": "8"}


def test_a_wish_that_was_overtaken_is_not_loaded(saved: Saved, tiny: Artifact) -> None:
    models, told = Models(), list[Outcome]()
    loader = Loader(models, default="reviews", report=told.append)
    wishes = [first_wish("reviews", saved(7))]
    wishes += [wishes[0].with_model("reviews", gone(saved, tiny))]
    wishes += [wishes[0].again(after=wishes[1])]
    done = [loader.begin(wish) for wish in wishes]
    assert (last := done[-1].result()) and last.serving == {"reviews": "7"}
    assert [one.generation for one in told] in ([3], [1, 3])


def test_weights_that_are_no_numbers_are_refused_before_they_answer(
    saved: Saved, tiny: Artifact
) -> None:
    with pytest.raises(ModelError, match="NaN"):
        load("reviews", nan_weights(saved, tiny))


def pinned(version: str) -> Pinned:
    return Pinned(uri=f"/models/reviews-{version}", digest=version * 8, version=version)


steps = st.lists(st.sampled_from(["1", "2", "3", "again", "back"]), max_size=12)


@given(steps)
def test_generations_rise_and_the_fallback_is_what_answered_before(steps: list[str]) -> None:
    wish, answered = first_wish("reviews", pinned("1")), ["1"]
    for step in steps:
        before = wish
        if step == "again":
            wish = wish.again(after=wish)
        elif step == "back" and len(answered) > 1:
            wish = wish.rolled_back("reviews")
            answered.append(answered[-2])
        elif step != "back":
            wish = wish.with_model("reviews", pinned(step))
            answered += [step] if step != answered[-1] else []
        assert wish is before or wish.generation == before.generation + 1
        model = wish.models["reviews"]
        assert model.version == answered[-1]
        assert (model.fallback.version if model.fallback else None) == (
            answered[-2] if len(answered) > 1 else None
        )


def test_a_wish_travels_as_json() -> None:
    wish = first_wish("reviews", pinned("1")).with_model("reviews", pinned("2"))
    assert Wish.model_validate(wish.model_dump(mode="json")) == wish
    assert isinstance(wish.models["reviews"], Wanted)


@pytest.mark.parametrize(
    ("name", "said"),
    [("reviews", "nothing to roll back"), ("topics", r"topics is not deployed \(found: reviews\)")],
)
def test_what_was_never_deployed_is_not_rolled_back(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        first_wish("reviews", pinned("1")).rolled_back(name)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_of_two_deploys_one_is_told_who_came_first() -> None:
    outcomes = Outcomes(Clock())
    assert outcomes.begin("reviews@8#a") == ""
    assert outcomes.begin("reviews@9#b") == "reviews@8#a"
    outcomes.end("reviews@9#b")
    assert outcomes.begin("reviews@9#b") == "reviews@8#a", "only the first can end its own"
    outcomes.end("reviews@8#a")
    assert outcomes.begin("reviews@9#b") == ""


def test_a_deploy_that_died_does_not_stand_in_the_way_for_long() -> None:
    clock = Clock()
    outcomes = Outcomes(clock)
    outcomes.begin("reviews@8#a")
    clock.now += LEASE_S - 1
    outcomes.renew("reviews@8#a")
    clock.now += LEASE_S - 1
    assert outcomes.begin("reviews@9#b") == "reviews@8#a"
    clock.now += 1
    assert outcomes.begin("reviews@9#b") == ""
    outcomes.renew("reviews@8#a")
    assert outcomes.begin("reviews@8#a") == "reviews@9#b"
