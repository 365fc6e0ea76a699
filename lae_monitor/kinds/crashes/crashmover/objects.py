"""The destination that is an object store: keys as Antenna and Socorro have them, called v1. Blocking.

v1/dump_names/<id>    v1/dump/<id> (the minidump)    v1/<dump name>/<id>    v1/raw_crash/<YYYYMMDD>/<id>, last
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash, Data, object_keys
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable

TAKEN: Final = frozenset({"dump", "dump_names", "raw_crash", "processed_crash", "crash_report"})  # keys with a meaning
CONNECT: Final = 10  # seconds
READ: Final = 60  # seconds without a byte
_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')  # an ETag that is the content's MD5


class ObjectStore:
    """Credentials are found as boto3 finds them: variables, profile, the instance's role."""

    def __init__(self, settings: config.S3) -> None:
        self._settings = settings
        self._client = client("s3", settings.endpoint_url, settings.region)

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        if taken := TAKEN & {*crash.names}:
            raise Never(f"a dump named {min(taken)} has no key of its own in this layout")
        keys = object_keys(crash.crash_id, crash.names, self._settings.prefix)
        bodies: dict[str, Data] = {"dump_names": crash.dump_names, **crash.dumps, "raw_crash": crash.raw}
        with telling():
            for name, key in keys.items():
                self._put(
                    key, bodies[name], "application/json" if name not in crash.dumps else "application/octet-stream"
                )
        return f"s3://{self._settings.bucket}/{keys['raw_crash']}"

    def _put(self, key: str, body: Data, media: str) -> None:
        """Makes the object, unless it is there, and looks whether the store has what we have."""
        data = bytes(body)
        found = self._is_same(key, data)
        if found is None:
            self._client.put_object(
                Bucket=self._settings.bucket,
                Key=key,
                Body=data,
                ContentType=media,
                ChecksumSHA256=_sha256(data),
            )
            found = self._is_same(key, data)
            if not found:
                # Nobody else writes to this key: what is there is ours, and broken. It must not stand in the next try's way.
                self._client.delete_object(Bucket=self._settings.bucket, Key=key)
                raise Unavailable(f"{key}: the store has something else than was sent")
        elif not found:
            raise Never(f"{key}: another object has this key")

    def _is_same(self, key: str, data: bytes) -> bool | None:
        """Whether the object is these bytes; None when there is none."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - heavy

        try:
            head = self._client.head_object(Bucket=self._settings.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
        if head["ContentLength"] != len(data):
            return False
        etag = _MD5.fullmatch(str(head.get("ETag", "")))
        if etag is not None and "SSECustomerAlgorithm" not in head and head.get("ServerSideEncryption") != "aws:kms":
            return etag[1] == hashlib.md5(data, usedforsecurity=False).hexdigest()
        if "ChecksumSHA256" in head:
            return bool(head["ChecksumSHA256"] == _sha256(data))
        whole = self._client.get_object(Bucket=self._settings.bucket, Key=key)["Body"].read()
        return bool(whole == data)

    def close(self) -> None:
        self._client.close()


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def client(service: str, endpoint_url: str, region: str) -> Any:
    """A client of boto3; it may be used by several threads.

    Raises:
        BotoCoreError: the region is missing, the profile unknown.
    """
    import boto3  # noqa: PLC0415 - heavy, and only who has such a destination needs it
    from botocore.config import Config  # noqa: PLC0415

    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint_url or None,
        region_name=region or None,
        # The mover tries again by itself, and counts it.
        config=Config(connect_timeout=CONNECT, read_timeout=READ, retries={"max_attempts": 1, "mode": "standard"}),
    )


@contextmanager
def telling() -> Iterator[None]:
    """Turns what boto3 says into what the mover understands; a missing bucket or right is mended by somebody."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError, HTTPError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
