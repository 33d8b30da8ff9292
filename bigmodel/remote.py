"""`s3://` and `gs://`: the filesystem behind a URI, and what its faults mean for a user."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from bigmodel.errors import BigModelError, ClusterError, RecipeError

SCHEMES = ("s3", "gs")
S3_OPTIONS = {"endpoint_override", "region", "scheme"}
ATTEMPTS = 3
CONNECT_TIMEOUT_S = 5
SILENCE_TIMEOUT_S = 10
"""Nobody there is known in a second, somebody who says nothing in half a minute; pyarrow's own
settings take 6 and 100 seconds for S3, a quarter of an hour for Google."""


@dataclass(frozen=True)
class Fault:
    """A kind of trouble: what in pyarrow's message tells it, its words, the way out, the error."""

    pattern: str
    said: str
    remedy: str
    error: type[BigModelError]


NO_BUCKET = Fault(
    r"^no such bucket|AWS Error NO_SUCH_BUCKET|^Bucket '.*' not found",
    "no such bucket",
    "make it, or name another one",
    RecipeError,
)
REFUSED = Fault(
    r"AWS Error (ACCESS_DENIED|\w*(ACCESS_KEY|SIGNATURE|TOKEN))|OAuth2 access token"
    r"|Status\((PERMISSION_DENIED|UNAUTHENTICATED)",
    "access is refused",
    "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "GOOGLE_APPLICATION_CREDENTIALS) and what they allow there",
    ClusterError,
)
SILENT = Fault(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|SLOW_DOWN)"
    r"|Status\((UNAVAILABLE|DEADLINE_EXCEEDED)",
    "nobody answers",
    "check the endpoint (AWS_ENDPOINT_URL) and the network",
    ClusterError,
)
FAULTS = (NO_BUCKET, REFUSED, SILENT)


def fault(error: Exception) -> Fault | None:
    """The kind of trouble that an error of these filesystems is; None for any other."""
    return next((kind for kind in FAULTS if re.search(kind.pattern, str(error))), None)


def remote(uri: str) -> tuple[Any, str]:
    """(pyarrow's filesystem, path there) of a URI; OSError where it can't be reached.

    What follows the bucket is the name as it stands, Chinese and blanks included, up to a `?` with
    options: `endpoint_override`, `region` and `scheme` of S3, pyarrow's own of Google. Credentials
    come from the environment, as does the endpoint where no option says it. ValueError for a URI
    of another kind.
    """
    base, _, query = uri.partition("?")
    scheme, _, rest = base.partition("://")
    root, _, path = rest.partition("/")
    if scheme not in SCHEMES or not root:
        raise ValueError("expected a path, s3://bucket/… or gs://bucket/…")
    bucket = root.rpartition("@")[2]  # gs://anonymous@bucket
    return _opened(scheme, root, query), f"{bucket}/{path}".rstrip("/")


@lru_cache
def _opened(scheme: str, root: str, query: str) -> Any:
    """A filesystem whose bucket is there, as far as one is allowed to look."""
    from pyarrow import fs

    filesystem = _s3(root, dict(parse_qsl(query))) if scheme == "s3" else _google(root, query)
    try:
        if filesystem.get_file_info(root.rpartition("@")[2]).type == fs.FileType.NotFound:
            raise OSError("no such bucket")
    except OSError as error:
        if fault(error) is not REFUSED:
            raise
    return filesystem


def _s3(bucket: str, options: Mapping[str, str]) -> Any:
    from pyarrow import fs

    if unknown := set(options) - S3_OPTIONS:
        raise ValueError(f"unknown option {min(unknown)}; known: {', '.join(sorted(S3_OPTIONS))}")
    of_environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = options.get("endpoint_override") or of_environment
    region = options.get("region")
    if not endpoint and not region:  # of Amazon's own, whose buckets answer in their region only
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        scheme=options.get("scheme"),
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=SILENCE_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def _google(root: str, query: str) -> Any:
    from pyarrow import fs

    limits = [f"retry_limit_seconds={ATTEMPTS * SILENCE_TIMEOUT_S}"]
    options = [query] if "retry_limit_seconds" in query else [query, *limits]
    return fs.FileSystem.from_uri(f"gs://{root}?{'&'.join(filter(None, options))}")[0]
