"""Sections about rows and texts: where they are, how they are read, cleaned and cut."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bigmodel.config.section import Section


class SplitConfig(Section):
    """How the rows of `data.train` are divided where no split is given."""

    valid: float = Field(0.1, ge=0, lt=1, description="Share of rows for choosing settings.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of rows for the final score.")
    group_column: str | None = Field(
        None, description="Rows with the same value here stay in one split."
    )

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "SplitConfig":
        if self.valid + self.test >= 1:
            raise ValueError("split.valid and split.test leave no rows to train on")
        return self


class TextSource(Section):
    """One of several sources of texts."""

    path: str = Field(min_length=1, description="A file, glob, folder or URI.")


class WeightedSource(TextSource):
    """One of several sources of training rows."""

    weight: float = Field(
        1.0,
        gt=0,
        description="Of its rows in training; with any but 1 they are only trained on, never split "
        "off for valid or test.",
    )


def _listed(written: Any) -> Any:
    """One path is a list of one source."""
    return [{"path": written}] if isinstance(written, str) else written


class DataConfig(Section):
    """Where the labelled texts are and how to read them."""

    train: Annotated[
        tuple[WeightedSource, ...],
        BeforeValidator(_listed, json_schema_input_type=str | tuple[WeightedSource, ...]),
    ] = Field(
        min_length=1,
        description="CSV, TSV, JSON lines, Parquet or text, also as `.gz` or `.zst`: a file, glob, "
        "folder or URI, or a list of `{path, weight}`.",
    )
    valid: str | None = Field(None, description="A given valid split; overrides `split.valid`.")
    test: str | None = Field(None, description="A given test split; overrides `split.test`.")
    unlabelled: Annotated[
        tuple[TextSource, ...],
        BeforeValidator(_listed, json_schema_input_type=str | tuple[TextSource, ...]),
    ] = Field(
        (),
        description="More texts, in files as those of `train` but for labels; other columns are "
        "ignored. The vocabulary counts them, and word vectors are made of them too (kinds of "
        "words; `linear` and `bag` leave them unread).",
    )
    text_column: str = Field("text", description="Name of the column with the texts.")
    label_column: str = Field("label", description="Name of the column with the labels.")
    encoding: str = Field(
        "auto", description="Of the files; auto: UTF-8, else what the bytes look like, said aloud."
    )
    max_bad_rows: float = Field(
        0.01, ge=0, le=1, description="Share of unreadable or empty rows above which a job stops."
    )
    corrections: str | None = Field(
        None, description="The CSV of `check` with mended labels; an empty label drops the text."
    )
    conflicts: Literal["drop", "majority", "keep"] = Field(
        "drop", description="What happens to one text under several labels."
    )
    split: SplitConfig = Field(default_factory=SplitConfig)

    @model_validator(mode="after")
    def _every_split_has_rows(self) -> "DataConfig":
        for name in ("valid", "test"):
            if getattr(self, name) is None and getattr(self.split, name) == 0:
                raise ValueError(f"split.{name} is 0 and no data.{name} is given; give one of them")
        return self

    def of_another_file(self) -> "DataConfig":
        """Of a file with the same columns, whose encoding nobody has told."""
        return self.model_copy(update={"encoding": "auto"})


class TextConfig(Section):
    """From a string to words."""

    engine: Literal["rjieba", "jieba"] = Field("rjieba", description="What segments words.")
    hmm: bool = Field(False, description="Let the engine guess words that its dictionary lacks.")
    segmenter: Literal["words", "chars"] = Field("words", description="The unit of a token.")
    user_dictionary: str | None = Field(
        None, description="A jieba dictionary (`word [count [tag]]` a line) of your own words."
    )
    stop_words: str | None = Field(None, description="A file of words to leave out, one a line.")
    links: Literal["keep", "drop"] = Field("keep", description="Web addresses in the texts.")
    user_names: Literal["keep", "drop"] = Field("keep", description="`@name` in the texts.")
    traditional: Literal["keep", "simplify"] = Field(
        "keep", description="Traditional characters; simplify: by OpenCC."
    )
    mask: tuple[Literal["phone", "id_number", "bank_card", "email"], ...] = Field(
        (), description="Personal data read as placeholders everywhere; `storage` keeps it, though."
    )
    max_tokens: int = Field(256, gt=0, description="Longer texts are cut (kind `mlp`).")
    vocabulary_size: int = Field(
        50_000, gt=1, description="The most tokens or n-grams to keep (kinds `mlp` and `bag`)."
    )
