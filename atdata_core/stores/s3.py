"""Shards as objects in an S3 bucket. The only module that knows boto3."""

import base64
import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from atdata_core.cid import cid_to_digest
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnreachableError,
)
from atdata_core.shard import Shard
from atdata_core.sources import BaseSource, DataSource
from atdata_core.stores.base import AbstractDataStore
from atdata_core.stores.multipart import THRESHOLD_BYTES, upload_in_parts
from atdata_core.stores.streams import BodyStream

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_REGION": "region_name",
    "AWS_DEFAULT_REGION": "region_name",
    "AWS_ENDPOINT": "endpoint_url",
    "AWS_ENDPOINT_URL": "endpoint_url",
}


class S3DataStore(AbstractDataStore):
    """Shards as objects, ``s3://<bucket>/<prefix>/<cid>.tar``.

    Args:
        credentials: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT`` and the
            like, as a map or as the path of a file of ``NAME=value`` lines. By default what boto3
            finds: environment, profile, instance role.
        bucket: The bucket; by default ``ATDATA_S3_BUCKET``. It must exist.
        endpoint_url: The server; by default that of `credentials`, else ``ATDATA_S3_ENDPOINT``,
            else Amazon's.
        anonymous: Whether requests go out unsigned, as for a public bucket of somebody else's.
    """

    def __init__(
        self,
        credentials: Mapping[str, str] | str | Path | None = None,
        *,
        bucket: str | None = None,
        endpoint_url: str | None = None,
        anonymous: bool = False,
    ) -> None:
        name = bucket or os.environ.get("ATDATA_S3_BUCKET")
        if not name:
            raise ConfigurationError(
                "no S3 bucket is named",
                expected="bucket=… or the environment variable ATDATA_S3_BUCKET",
            )
        self.bucket = name
        self.anonymous = anonymous
        self._options = _options(credentials)
        if endpoint_url:
            self._options["endpoint_url"] = endpoint_url
        elif os.environ.get("ATDATA_S3_ENDPOINT"):
            self._options.setdefault("endpoint_url", os.environ["ATDATA_S3_ENDPOINT"])
        self._client: Any = None

    @property
    def endpoint_url(self) -> str | None:
        """The server, or None for Amazon's."""
        return self._options.get("endpoint_url")

    @property
    def server_url(self) -> str:
        """The server that is asked, wherever its address was set; no request is made for it."""
        with _translated(f"s3://{self.bucket}"):
            return str(self.client.meta.endpoint_url)

    def find_shard(self, shard: Shard, prefix: str) -> Shard | None:
        """The object of this CID, if it has the size that it must have."""
        key = self._key(shard, prefix)
        try:
            with _translated(f"s3://{self.bucket}/{key}"):
                head = self.client.head_object(Bucket=self.bucket, Key=key)
        except NotFoundError:
            return None
        if head["ContentLength"] != shard.size:
            return None
        return Shard(f"s3://{self.bucket}/{key}", shard.cid, shard.size, shard.rows)

    def put_shard(self, body: IO[bytes], shard: Shard, prefix: str) -> Shard:
        """Uploads with the SHA-256, which the server checks; a large shard in parallel parts."""
        key = self._key(shard, prefix)
        url = f"s3://{self.bucket}/{key}"
        digest = cid_to_digest(shard.cid or "")
        with _translated(url):
            if (shard.size or 0) > THRESHOLD_BYTES:
                upload_in_parts(self.client, self.bucket, key, body, shard)
                return Shard(url, shard.cid, shard.size, shard.rows)
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType="application/x-tar",
                ChecksumSHA256=base64.b64encode(digest).decode("ascii"),
            )
        return Shard(url, shard.cid, shard.size, shard.rows)

    def create_source(self, urls: Sequence[str]) -> DataSource:
        """A source that reads these ``s3://`` addresses with this store's credentials."""
        return S3Source(urls, self)

    def open_object(self, url: str) -> IO[bytes]:
        """An object for reading, piece by piece; `NotFoundError` if there is none."""
        bucket, key = split_s3_url(url)
        try:
            with _translated(url):
                answer = self.client.get_object(Bucket=bucket, Key=key)
        except ServiceError as error:
            if self.anonymous:
                error.remedy = (
                    "It was asked for without credentials, as a record's objects are. If you may "
                    "read it with yours: load_dataset(…, store=S3DataStore(bucket=…))"
                )
            raise
        return cast("IO[bytes]", BodyStream(answer["Body"], url))

    @property
    def client(self) -> Any:
        """The boto3 client; made when it is first needed, one a process."""
        if self._client is None:
            from botocore import UNSIGNED
            from botocore.config import Config

            self._client = _session().client(
                "s3",
                config=Config(
                    signature_version=UNSIGNED if self.anonymous else "s3v4",
                    s3={"addressing_style": "path"} if self.endpoint_url else {},
                    retries={"mode": "standard", "max_attempts": 4},
                    connect_timeout=10,
                    read_timeout=60,
                    # Checksums go as headers that we compute; the trailing ones, which boto3 would
                    # add by itself, are unknown to servers other than Amazon's.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
                **self._options,
            )
        return self._client

    def close(self) -> None:
        """Closes connections; they are opened again when they are needed."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        return f"S3DataStore(bucket={self.bucket!r}, endpoint_url={self.endpoint_url!r})"

    def _key(self, shard: Shard, prefix: str) -> str:
        return f"{prefix.strip('/')}/{shard.cid}.tar"


class S3Source(BaseSource):
    """Shards read from S3.

    Args:
        urls: Their addresses, ``s3://bucket/key``, in order.
        store: Whose credentials are used; by default those that boto3 finds.
    """

    remote = True

    def __init__(self, urls: Sequence[str], store: S3DataStore | None = None) -> None:
        self._urls = list(urls)
        first = self._urls[0] if self._urls else "s3://none/"
        self.store = store or S3DataStore(bucket=split_s3_url(first)[0])

    def list_shards(self) -> list[str]:
        """The addresses, in order."""
        return list(self._urls)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """The object at an address; raises `NotFoundError` if there is none."""
        return self.store.open_object(shard_id)

    def __repr__(self) -> str:
        return f"S3Source({len(self._urls)} shards)"


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``; raises `ConfigurationError` for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigurationError("address is not in S3", expected="s3://bucket/key", got=url)
    return parts.netloc, url.removeprefix(f"s3://{parts.netloc}").lstrip("/")


def _session() -> Any:
    """A boto3 session, with credentials and settings as they are to be found now."""
    import boto3
    import botocore.session

    session = botocore.session.get_session()
    if session.get_config_variable("data_path") is None:
        session.register_component("data_loader", _descriptions())
    return boto3.session.Session(botocore_session=session)


@functools.cache
def _descriptions() -> Any:
    """The descriptions of services that come with botocore, read once a process.

    (Each session by itself reads them anew: 75 to 180 ms for a client, 16 so.)
    """
    from botocore.loaders import Loader

    class Shared(Loader):  # type: ignore[misc]
        @property
        def search_paths(self) -> list[str]:
            # Each boto3 session appends its own path, which only boto3's resources need.
            return [*super().search_paths]

    return Shared()


def _options(credentials: Mapping[str, str] | str | Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if os.environ.get("AWS_REGION"):
        options["region_name"] = os.environ["AWS_REGION"]  # boto3 itself reads AWS_DEFAULT_REGION
    if credentials is None:
        return options
    if not isinstance(credentials, Mapping):
        credentials = _read_env_file(Path(credentials))
    for name, value in credentials.items():
        if name in _CREDENTIALS:
            options[_CREDENTIALS[name]] = value
    return options


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"credentials can't be read: {error.strerror}", where=str(path)
        ) from error
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if "=" in line)
    return {
        name.strip(): value.strip().strip("'\"")
        for name, _, value in pairs
        if not name.startswith("#")
    }


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _translate(error, where) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise AuthenticationError(
            str(error),
            where=where,
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role",
        ) from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise UnreachableError(f"no answer from the S3 server: {error}", where=where) from error
    except exceptions.BotoCoreError as error:
        raise ServiceError(f"S3 request failed: {error}", where=where) from error


def _translate(error: Any, where: str) -> ServiceError | NotFoundError | IntegrityError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    message = str(error.response.get("Error", {}).get("Message") or code or f"HTTP {status}")
    if code == "NoSuchBucket":
        return ServiceError(
            "there is no such bucket",
            code=code,
            where=where,
            remedy="Check its name (ATDATA_S3_BUCKET), or make it",
        )
    if code in ("NoSuchKey", "404", "NotFound"):
        return NotFoundError("there is no such object", where=where)
    if code in ("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"):
        return IntegrityError("S3 received other bytes than those of the CID", where=where)
    if status in (401, 403) or code in ("AccessDenied", "InvalidAccessKeyId"):
        return AuthenticationError(
            message, code=code, where=where, remedy="Check AWS_ACCESS_KEY_ID and its rights"
        )
    if code in ("SlowDown", "TooManyRequests", "503"):
        return RateLimitedError(message, code=code, where=where)
    return ServiceError(message, code=code, where=where)
