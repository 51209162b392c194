"""Large shards to S3 in parts: several at a time, each checked, all or nothing."""

import base64
import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from atdata_core.cid import cid_to_digest, digest_to_cid
from atdata_core.errors import IntegrityError
from atdata_core.shard import Shard

THRESHOLD_BYTES = 64 << 20
"""Shards above this size are uploaded in parts; below it, one request is as fast."""

_LEAST_PART_BYTES = 16 << 20
_MAX_PARTS = 10_000
_PARALLEL = 4
_STALE = timedelta(days=1)


def upload_in_parts(client: Any, bucket: str, key: str, body: IO[bytes], shard: Shard) -> None:
    """Uploads a file in parts, as one object that is there whole or not at all.

    The server checks the SHA-256 of each part, we that of the whole, before the parts become an
    object. No more than five parts lie in memory. Parts that a killed upload of the same object
    left behind are removed after a day; sooner, they could be those of another writer.

    Args:
        client: A boto3 client.
        bucket: The bucket.
        key: The object's key.
        body: The file, at its start.
        shard: Its CID and size.

    Raises:
        IntegrityError: The bytes aren't those of the CID; nothing is left behind.
        ClientError: botocore's, for whatever S3 refuses.
    """
    _abort_stale(client, bucket, key)
    where = f"s3://{bucket}/{key}"
    started = client.create_multipart_upload(
        Bucket=bucket, Key=key, ContentType="application/x-tar", ChecksumAlgorithm="SHA256"
    )
    upload = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"]}
    try:
        parts = _upload_parts(client, upload, body, shard, where)
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        with suppress(Exception):  # the error that led here is the one to tell
            client.abort_multipart_upload(**upload)
        raise


def _upload_parts(
    client: Any, upload: dict[str, Any], body: IO[bytes], shard: Shard, where: str
) -> list[dict[str, Any]]:
    digest = hashlib.sha256()
    size = part_bytes(shard.size or 0)
    pending: deque[Future[dict[str, Any]]] = deque()
    parts: list[dict[str, Any]] = []
    with ThreadPoolExecutor(_PARALLEL) as pool:
        number = 0
        while piece := body.read(size):
            number += 1
            digest.update(piece)
            pending.append(pool.submit(_upload_part, client, upload, number, piece))
            if len(pending) > _PARALLEL:
                parts.append(pending.popleft().result())
        parts += [future.result() for future in pending]
    if digest.digest() != cid_to_digest(shard.cid or ""):
        raise IntegrityError(
            "shard's bytes are not those of its CID",
            where=where,
            expected=shard.cid,
            got=digest_to_cid(digest.digest()),
        )
    return parts


def _upload_part(client: Any, upload: dict[str, Any], number: int, piece: bytes) -> dict[str, Any]:
    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode("ascii")
    answer = client.upload_part(**upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum)
    part = {"PartNumber": number, "ETag": answer["ETag"]}
    # Amazon wants the checksums again when the parts are put together; others don't answer them.
    return {**part, "ChecksumSHA256": checksum} if "ChecksumSHA256" in answer else part


def part_bytes(size: int) -> int:
    """How large the parts of an object of `size` bytes are: S3 takes 10,000 at most."""
    return max(_LEAST_PART_BYTES, -(-size // _MAX_PARTS))


def _abort_stale(client: Any, bucket: str, key: str) -> None:
    found = client.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", ())
    for upload in found:
        if upload["Key"] == key and upload["Initiated"] < datetime.now(UTC) - _STALE:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
