"""[gatherers.crashes.crashmover]"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lae_monitor.config import Duration, Section, key
from lae_monitor.config import Settings as AllSettings


class Destination(Section, frozen=True, tag_field="type"):
    """What every destination can be told."""

    name: Annotated[str, key("what the ledger and the metrics call it; default: its type")] = ""
    only: Annotated[
        Literal["all", "accepted", "deferred"],
        key("which crashes it gets, by what the throttle rules decided (legacy_processing, or else the id's digit)"),
    ] = "all"
    products: Annotated[list[str], key("it gets crashes of these products only; empty: of all")] = []  # noqa: RUF012
    from_day: Annotated[str, key("the first day of receipt that it gets, as YYYYMMDD; empty: the oldest there is")] = ""
    until_day: Annotated[str, key("the last day of receipt that it gets, as YYYYMMDD; empty: for ever")] = ""
    redact: Annotated[
        list[str], key("annotations that it does not get; a dotted name reaches into what an annotation holds")
    ] = []  # noqa: RUF012
    publish: Annotated[
        str,
        key(
            "where the crash id is published after a save: sqs://QUEUE, or an http(s) URL that takes a POST; empty: nowhere"
        ),
    ] = ""
    fallback: Annotated[
        "Antenna | Socorro | S3 | Http | Tar | Nowhere | None",
        key("another destination, for crashes that this one did not take"),
    ] = None

    @property
    def kind(self) -> str:
        """Its type, as the configuration has it."""
        return str(type(self).__struct_config__.tag)

    @property
    def title(self) -> str:
        """What the ledger calls it."""
        return self.name or self.kind


class Antenna(Destination, frozen=True, kw_only=True, tag="antenna"):
    """Antenna's file layout."""

    fs_root: Annotated[Path, key("the folder that holds the days")]
    umask: Annotated[str, key("what others may not do with the files, octal")] = "027"


class Socorro(Destination, frozen=True, kw_only=True, tag="socorro"):
    """The Socorro collector's radix tree by name, and its tree by date."""

    fs_root: Annotated[Path, key("the folder that holds the days")]
    umask: Annotated[str, key("what others may not do with the files, octal")] = "027"
    style: Annotated[
        Literal["legacy", "new"],
        key("legacy puts files straight into the last radix folder, new into a folder of the crash"),
    ] = "legacy"
    name_branch_base: Annotated[str, key("folder of the tree by name")] = "name"
    date_branch_base: Annotated[str, key("folder of the tree by date")] = "date"
    minute_slice_interval: Annotated[
        int, msgspec.Meta(ge=1, le=60, description="seconds of a slot in the tree by date")
    ] = 4
    json_file_suffix: Annotated[str, key("what the raw crash's name ends with")] = ".json"
    dump_file_suffix: Annotated[str, key("what a dump's name ends with")] = ".dump"
    dump_field: Annotated[str, key("the dump whose file has no name of its own")] = "upload_file_minidump"
    checksum_method: Annotated[Literal["md5", "sha256"], key("of dump_checksums in the raw crash")] = "md5"


class S3(Destination, frozen=True, kw_only=True, tag="s3"):
    """An object store that speaks S3, with the keys called v1."""

    bucket: Annotated[str, key("the bucket; it has to exist")]
    prefix: Annotated[str, key("what stands before v1/ in every key")] = ""
    endpoint_url: Annotated[str, key("the store's address, unless it is Amazon's")] = ""
    region: Annotated[str, key("the region, unless boto3 knows it")] = ""


class Http(Destination, frozen=True, kw_only=True, tag="http"):
    """Another collector; it gets the crash as its client sent it."""

    url: Annotated[str, key("where crashes are POSTed")]
    token_file: Annotated[
        Path | None,
        key(
            "holds the bearer token of a submitter; with it crashes keep their ids",
            example="/etc/lae-monitor/submitter.token",
        ),
    ] = None
    gzip: Annotated[bool, key("compress bodies")] = True
    timeout: Annotated[Duration, key("longest wait for the collector")] = Duration(60)


class Tar(Destination, frozen=True, kw_only=True, tag="tar"):
    """Tar files, one after the other."""

    folder: Annotated[Path, key("the folder that holds them")]
    per: Annotated[int, msgspec.Meta(ge=0, description="crashes in one file; 0: one file for each day of receipt")] = 0
    umask: Annotated[str, key("what others may not do with the files, octal")] = "027"


class Nowhere(Destination, frozen=True, kw_only=True, tag="null"):
    """Takes everything and keeps nothing: to measure, or to try."""


AnyDestination = Antenna | Socorro | S3 | Http | Tar | Nowhere


class Settings(Section, frozen=True):
    """Where stored crashes are handed on to."""

    destinations: Annotated[
        list[AnyDestination],
        key(
            "every crash goes to each of them, and each is kept account of by itself",
            example=[{"type": "antenna", "fs_root": "/srv/antenna"}],
        ),
    ] = []  # noqa: RUF012
    threads: Annotated[
        int, msgspec.Meta(ge=1, le=64, description="crashes that are sent to one destination at the same time")
    ] = 4
    queue: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="crashes that are read ahead for it, while its threads are busy")
    ] = 8
    rate: Annotated[int, msgspec.Meta(ge=0, description="sends a second at most, to all together; 0: no limit")] = 0
    interval: Annotated[Duration, key("how often the archive is looked at for new crashes")] = Duration(2)
    max_attempts: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="tries before a crash becomes a dead letter of its destination")
    ] = 20
    retry_delay: Annotated[Duration, key("wait before the second try; it doubles with each further one")] = Duration(2)
    max_retry_delay: Annotated[Duration, key("longest wait between two tries")] = Duration(900)
    metrics_listen: Annotated[
        str, key("address and port of /metrics and the health addresses; empty: none", example="127.0.0.1:8001")
    ] = ""


def companions(settings: AllSettings) -> dict[str, list[str]]:
    """The crashmover, if it has destinations."""
    return {"crashmover": ["crashmover", "--forever"]} if settings.gatherers["crashes.crashmover"].destinations else {}
