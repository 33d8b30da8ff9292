"""What replicas are told: the `args` that stay, and `user_config`, which is all that a new version
changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from bigmodel.config import NAME_PATTERN, Section, ServeConfig
from bigmodel.errors import ModelError

DEPLOYMENT = "classify"


class ServeArgs(Section):
    """What stays as it is from version to version: other arguments mean other processes."""

    name: str = Field(pattern=NAME_PATTERN, description="Of the model that is asked by default.")
    serve: ServeConfig = Field(default_factory=ServeConfig)
    keys: str = Field("", description="The storage whose keys are asked for; none where empty.")
    code: str = Field("", description="Of our own code: another release needs new processes.")


class Pinned(Section):
    """One version of a model, wherever it lies, and the only bytes that it may have."""

    uri: str = Field(description="The artefact's folder or URI, readable by every replica.")
    digest: str = Field(description="SHA-256 of its manifest.")
    version: str = Field("0", description="In the registry; 0: not registered.")


class Wanted(Pinned):
    """The version to answer with, and the one before it: `fallback` is what a new replica takes
    where the first can't be had, and what `rolled_back` puts back."""

    fallback: Pinned | None = None
    other_labels: bool = Field(False, description="It may replace a version with other labels.")

    @property
    def itself(self) -> Pinned:
        return Pinned(uri=self.uri, digest=self.digest, version=self.version)


class Wish(Section):
    """What is wanted of every replica. `generation` rises with each wish: an equal one would call
    nothing."""

    generation: int = Field(ge=1)
    models: Mapping[Annotated[str, Field(pattern=NAME_PATTERN)], Wanted] = Field(min_length=1)
    draining: bool = Field(False, description="Take no new work: the endpoint is about to end.")

    def with_model(self, name: str, version: Pinned, *, other_labels: bool = False) -> "Wish":
        """The next wish: `version` for what stands under `name`, or one model more."""
        before = self.models.get(name)
        fallback = before.itself if before else None
        if before and before.itself == version:
            fallback = before.fallback
        model = Wanted(**version.model_dump(), fallback=fallback, other_labels=other_labels)
        return self._next({**self.models, name: model})

    def rolled_back(self, name: str) -> "Wish":
        """The next wish: what `name` answered with before; twice is as it was. ModelError where
        there is no such."""
        if name not in self.models:
            found = ", ".join(self.models)
            raise ModelError(f"{name} is not deployed (found: {found}); name one of these")
        before = self.models[name].fallback
        if before is None:
            raise ModelError(
                f"{name}: nothing to roll back, the endpoint has answered with "
                f"{name}@{self.models[name].version} alone; deploy another version"
            )
        return self.with_model(name, before, other_labels=True)

    def drained(self) -> "Wish":
        """The last wish of an endpoint."""
        return self.model_copy(update={"generation": self.generation + 1, "draining": True})

    def again(self, *, after: "Wish") -> "Wish":
        """The same models once more, as the wish that follows on `after`, of which a replica may
        have taken other labels."""
        models = {n: m.model_copy(update={"other_labels": True}) for n, m in self.models.items()}
        return Wish(generation=after.generation + 1, models=models)

    def _next(self, models: dict[str, Wanted]) -> "Wish":
        return Wish(generation=self.generation + 1, models=models)


def first_wish(name: str, version: Pinned) -> Wish:
    """Of an endpoint that isn't there yet."""
    return Wish(generation=1, models={name: Wanted(**version.model_dump())})


@dataclass(frozen=True)
class Outcome:
    """What a replica made of a wish: versions by model; `refused` says why it isn't as wished."""

    generation: int
    wanted: dict[str, str]
    serving: dict[str, str]
    refused: str
    took_s: float
