"""prepare: files to checked, split and encoded rows, each stage written once, by its content."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bigmodel import progress
from bigmodel.config import Recipe
from bigmodel.data.corrections import open_corrections, read_corrections
from bigmodel.data.files import stamp
from bigmodel.data.history import History, Inputs, digest
from bigmodel.data.prepared import (
    SUMMARY,
    PreparedData,
    SealedFolder,
    find_sealed,
    seal,
    write_file,
)
from bigmodel.data.schema import LabelSet
from bigmodel.data.sources import Source, file_digest, sources_of, unlabelled_of
from bigmodel.data.split import SPLITS
from bigmodel.errors import DataError
from bigmodel.storage import Folder, folder
from bigmodel.text.encoder import EncoderRecipe

log = logging.getLogger(__name__)

PIECE_BYTES = 8 << 20  # of a file, the work of one task;
FEWEST_BYTES = 1 << 20  # but no more than a sixteenth of small data, and no less than this


def find_prepared(recipe: Recipe) -> PreparedData | None:
    """What an earlier `prepare` wrote for these files and settings, or None; needs no Ray."""
    return Plan.of(recipe).reuse()


def prepared_key(recipe: Recipe) -> str:
    """Equal for recipes that are trained on the same encoded rows."""
    plan = Plan.of(recipe)
    return digest([plan.inputs, plan.text])


def prepare(recipe: Recipe) -> PreparedData:
    """Read, check, split, fit the encoder on the training rows, encode; reuses what is there.

    The same bytes come out for any number of CPUs. A stage whose inputs haven't changed isn't run
    again: other words for the user dictionary read no file.
    """
    return carry_out(Plan.of(recipe))


def carry_out(plan: "Plan") -> PreparedData:
    """`prepare`, where the files have been looked at already."""
    with progress.stage("prepare") as stage:
        if found := plan.reuse():
            stage.update(note="nothing changed, what was prepared before is used")
            return found
        why = plan.why()
        stage.update(note="; ".join(why))
        origin = find_sealed(plan.rows_place)
        if origin is None:
            _say_encodings(plan, plan.sources)
            origin = _write_rows(plan, stage)
        encodings = find_sealed(plan.encoded_place(origin)) or _write_encoded(plan, origin, stage)
        plan.remember(origin, encodings)
        num_rows = origin.summary()["rows_read"]
        stage.update(done=num_rows, total=num_rows, note="")
    return PreparedData(origin, encodings, reused=False, why=tuple(why))


@dataclass(frozen=True)
class Plan:
    """The stages of one recipe: what each depends on, and where it is written.

    `unlabelled`: the files of texts without labels, none where the kind doesn't read them.
    """

    recipe: Recipe
    sources: tuple[Source, ...]
    unlabelled: tuple[Source, ...]
    stamps: dict[str, tuple[int, int]]
    encoder: EncoderRecipe
    history: History

    @classmethod
    def of(cls, recipe: Recipe) -> "Plan":
        place = folder(recipe.storage).child("prepared")
        sources = tuple(sources_of(recipe.data, keep=recipe.evaluate.columns))
        unlabelled = tuple(unlabelled_of(recipe.data)) if recipe.model.of_words else ()
        return cls(
            recipe,
            sources,
            unlabelled,
            {source.path: stamp(source.path) for source in (*sources, *unlabelled)},
            EncoderRecipe.of(recipe),
            History.of(place, recipe.name),
        )

    @cached_property
    def inputs(self) -> Inputs:
        """What the rows depend on."""
        data = self.recipe.data
        corrections = open_corrections(data.corrections)
        others = {*SPLITS, "corrections", "split", "unlabelled"}
        settings = data.model_dump(mode="json", exclude=others)
        given = sorted({source.split for source in self.sources} - {"train"})
        return {
            "files": [
                [name, source.split, source.weight, file_digest(source)]
                for name, source in zip(short_names(self.sources), self.sources, strict=True)
            ],
            "data settings": settings,
            "columns of slices": sorted(self.recipe.evaluate.columns),
            "split": [data.split.model_dump(mode="json"), given, self.recipe.seed],
            "corrections": file_digest(corrections) if corrections else None,
            "normalising": self.text["normalising"],
            "bigmodel's own code": _code_digest(),
        }

    @cached_property
    def text(self) -> Inputs:
        """What the encoded rows depend on besides the rows."""
        return self.encoder.inputs() | {
            "unlabelled texts": [
                [one.format, one.encoding, one.columns[one.text], file_digest(one)]
                for one in self.unlabelled
            ],
            "bigmodel's own code": _code_digest(),
        }

    @cached_property
    def rows_place(self) -> Folder:
        return self.history.place.child(f"rows/{self.history.rows_key(self.inputs)}")

    def encoded_place(self, origin: SealedFolder) -> Folder:
        about = origin.summary()
        key = digest([about["data_id"], about["split_id"], self.text])
        return self.history.place.child(f"encoded/{key}")

    def reuse(self) -> PreparedData | None:
        """What is there already, from now on the latest of this name; None where a stage isn't."""
        origin = find_sealed(self.rows_place)
        encodings = find_sealed(self.encoded_place(origin)) if origin else None
        if not (origin and encodings):
            return None
        self.remember(origin, encodings)
        return PreparedData(origin, encodings)

    def piece_bytes(self, sources: Sequence[Source]) -> int:
        """About how many bytes of these files are the work of one task."""
        total = sum(self.stamps[source.path][0] for source in sources)
        return max(FEWEST_BYTES, min(PIECE_BYTES, total // 16))

    def check_unchanged(self, sources: Sequence[Source]) -> None:
        """DataError where a file isn't any more what it was when its digest was taken."""
        for source in sources:
            if stamp(source.path) != self.stamps[source.path]:
                raise DataError(
                    f"{source.path}: the file changed while it was read; run the command again "
                    "once nothing writes to it"
                )

    def why(self) -> list[str]:
        """What is done anew, and for which reason, a sentence each; nothing the first time."""
        rows = self.history.why_rows(self.inputs)
        text = self.history.why_text(self.text, self.encoder.segmenter.user_dictionary)
        return list(dict.fromkeys(rows + text))

    def remember(self, origin: SealedFolder, encodings: SealedFolder) -> None:
        encoded = encodings.place.name
        self.history.remember(self.inputs, self.text, origin=origin, encoded=encoded)


def short_names(sources: Sequence[Source]) -> list[str]:
    """The files' names below the folder that they share; a URI as it stands.

    What is prepared names them so, and is the same wherever the folder lies.
    """
    local = [os.path.dirname(source.path) for source in sources if "://" not in source.path]
    root = os.path.commonpath(local) if local else ""
    return [
        source.path if "://" in source.path else os.path.relpath(source.path, root)
        for source in sources
    ]


def _say_encodings(plan: Plan, sources: Sequence[Source]) -> None:
    """Aloud, where nobody has said it in the recipe."""
    for source in sources:
        if source.encoding != "utf-8" and plan.recipe.data.encoding == "auto":
            log.warning("%s is read as %s, which its bytes look like", source.path, source.encoding)


def _write_rows(plan: Plan, stage: progress.Stage) -> SealedFolder:
    from bigmodel.data.rows import write_rows  # starts Ray's machinery, which `find` does without

    mended = open_corrections(plan.recipe.data.corrections)
    with plan.rows_place.fresh() as target:
        entries, summary = write_rows(
            plan.sources,
            plan.recipe,
            target,
            names=short_names(plan.sources),
            corrections=read_corrections(mended, plan.encoder.normalizer) if mended else {},
            earlier=plan.history.earlier(plan.inputs),
            size=plan.piece_bytes(plan.sources),
            on_rows=lambda done: stage.update(done=done, note="read"),
        )
        plan.check_unchanged(plan.sources)
        entries.append(write_file(target, SUMMARY, _json(summary)))
        seal(target, entries)
    folder(plan.recipe.storage).child(f"quarantine/{plan.recipe.name}").remove()  # of a refused one
    return _found(plan.rows_place)


def _write_encoded(plan: Plan, origin: SealedFolder, stage: progress.Stage) -> SealedFolder:
    from bigmodel.data.encode import encode_rows
    from bigmodel.data.unlabelled import Unlabelled

    rows = origin.summary()
    num_parts = len(origin.parts("rows"))
    segmented = 0

    def on_part(name: str) -> None:
        nonlocal segmented
        segmented += 1
        stage.update(done=rows["rows_kept"] * segmented // num_parts, note="segmented")

    def on_texts(done: int) -> None:
        stage.update(note=f"{done:,} unlabelled texts read")

    weak_words = plan.encoder.segmenter.check()
    _say_encodings(plan, plan.unlabelled)
    size, limit = plan.piece_bytes(plan.unlabelled), plan.recipe.data.max_bad_rows
    stage.update(done=0, total=rows["rows_kept"], note="segment")
    place = plan.encoded_place(origin)
    with place.fresh() as target:
        entries, num_unlabelled = encode_rows(
            origin,
            target,
            plan.encoder,
            labels=LabelSet(tuple(rows["labels"])),
            num_texts=sum(rows["splits"]["train"].values()),
            unlabelled=Unlabelled(plan.unlabelled, size, limit),
            on_part=on_part,
            on_texts=on_texts,
        )
        plan.check_unchanged(plan.unlabelled)
        about = {"weak_words": weak_words, "unlabelled": num_unlabelled}
        entries.append(write_file(target, SUMMARY, _json(about)))
        seal(target, entries)
    return _found(place)


def _found(place: Folder) -> SealedFolder:
    found = find_sealed(place)
    assert found, f"{place.uri} was just written"
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _code_digest() -> str:
    """Of the source of `bigmodel.text` and `bigmodel.data`: other code may make other ids."""
    root = Path(__file__).parent.parent
    files = sorted([*root.glob("text/*.py"), *root.glob("data/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
