"""A version of a model, and which records of MLflow are one."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from bigmodel.records import Record, time_of, uri_of


@dataclass(frozen=True)
class Version:
    """One published artefact, or (version 0) an artefact folder that nobody has published."""

    name: str
    version: int
    uri: str
    digest: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    created: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.uri


def published(records: Iterable[Record]) -> tuple[Version, ...]:
    """Those of the records that are artefacts of ours: neither moves nor other people's models."""
    return tuple(
        Version(
            name=record.name,
            version=record.version,
            uri=uri_of(record.source),
            digest=record.tags["sha256"],
            aliases=record.aliases,
            metrics=json.loads(record.tags["metrics"]),
            created=time_of(record.created),
            run_id=record.run_id,
        )
        for record in records
        if "sha256" in record.tags
    )
