"""Sections about judging a version: its scores, its promise, the gate, its report."""

import re
from typing import Literal

from pydantic import Field, model_validator

from bigmodel.config.section import Section


class PatternSlice(Section):
    """Rows whose text fits a pattern."""

    name: str = Field(min_length=1, description="What the report calls them.")
    pattern: str = Field(min_length=1, description="A regular expression, searched in the text.")

    @model_validator(mode="after")
    def _can_be_read(self) -> "PatternSlice":
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"{self.pattern!r} is no regular expression ({error})") from None
        return self


class PromiseConfig(Section):
    """What answers must keep; where the model isn't sure enough, it abstains."""

    precision: float = Field(
        gt=0, lt=1, description="Share of right answers among those given, at least."
    )


class GateConfig(Section):
    """When a new version may become champion."""

    margin: float = Field(
        0.02, gt=0, lt=1, description="Macro-F1 that a version may seem to lose, at most."
    )
    slices: tuple[str, ...] = Field(
        (),
        description="Slices whose accuracy mustn't fall by more than the margin either, as "
        '`"city=北京"`, `"length=1–10"` or `"pattern=NAME"`; of at least 20 test rows.',
    )


Change = Literal["names", "numbers", "blanks", "width", "traditional", "negation"]


class EvaluateConfig(Section):
    """How a version is judged, and when it may take the champion's place."""

    slices: tuple[str | PatternSlice, ...] = Field(
        (),
        description="Columns of the data, or `{name, pattern}`: scores for each value as well.",
    )
    folds: int = Field(
        0, ge=0, description="Cross-validation over train and valid with so many parts; 0: none."
    )
    promise: PromiseConfig | None = Field(
        None, description="With it, answers that aren't sure enough say `abstained`."
    )
    behaviour: tuple[Change, ...] = Field(
        ("names", "numbers", "blanks", "width", "traditional", "negation"),
        description="What is changed in texts to see whether the answer moves as it should.",
    )
    gate: GateConfig = Field(default_factory=GateConfig)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the data, that have slices."""
        return tuple(one for one in self.slices if isinstance(one, str))

    @property
    def patterns(self) -> tuple[PatternSlice, ...]:
        return tuple(one for one in self.slices if isinstance(one, PatternSlice))

    @model_validator(mode="after")
    def _folds_are_several(self) -> "EvaluateConfig":
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on; take 0 or at least 2")
        return self

    @model_validator(mode="after")
    def _the_gates_slices_are_there(self) -> "EvaluateConfig":
        patterns = [f"pattern={one.name}" for one in self.patterns]
        for name in self.gate.slices:
            by = name.partition("=")[0]
            if name not in patterns and ("=" not in name or by not in ("length", *self.columns)):
                known = [f"{column}=…" for column in ("length", *self.columns)] + patterns
                raise ValueError(
                    f"gate.slices has {name!r}, which is no slice (known: {', '.join(known)}); "
                    "name its column in evaluate.slices"
                )
        return self


class ReportConfig(Section):
    """What reports may hold."""

    texts: bool = Field(False, description="Rows of your data as examples of mistakes.")
