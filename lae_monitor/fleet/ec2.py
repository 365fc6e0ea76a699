"""What EC2 runs: asked with boto3, whose own configuration says as whom, where, and over which proxy or endpoint.

It needs the permission `ec2:DescribeInstances`, and no other. Whatever a tag holds is a stranger's text.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from lae_monitor.core.names import HostName
from lae_monitor.core.refusals import Refused

CONNECT_WITHIN: Final = 5  # seconds, for one of boto3's attempts
ANSWER_WITHIN: Final = 60  # seconds without a byte, for one of boto3's attempts
PAGE: Final = 100  # reservations of one answer; the most are 1,000, and small answers come soon
TAG_NAME: Final = "Name"
TAG_ROLE: Final = "lae_role"
PERMISSION: Final = "ec2:DescribeInstances"

_CREDENTIALS: Final = f"give this host a role that allows {PERMISSION}, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID"
_NOT_ALLOWED: Final = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "OptInRequired"})
_NOT_TRUSTED: Final = frozenset(
    {
        "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken",
        "ExpiredTokenException", "RequestExpired", "MissingAuthenticationToken", "InvalidAccessKeyId", "Blocked",
    }
)  # fmt: skip


class CannotAsk(Exception):
    """EC2 did not say what there is: why, and what to do next."""

    def __init__(self, why: str, following: str) -> None:
        super().__init__(why)
        self.following = following


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as EC2 tells it; "" for what it does not have. `launched`: seconds since the epoch, at the last start."""

    id: str
    region: str
    name: str = ""
    role: str = ""  # the tag as it stands there
    state: str = ""  # pending, running, stopping, stopped, shutting-down, terminated
    private: str = ""
    public: str = ""
    launched: float = 0.0

    @property
    def roles(self) -> tuple[str, ...]:
        """`monitor`, `node`, or both: the tag's parts between commas."""
        return tuple(filter(None, map(str.strip, self.role.split(","))))

    @property
    def host(self) -> HostName | None:
        """The host that its Name makes it; None for a Name that no host can have."""
        try:
            return HostName(self.name)
        except Refused:
            return None

    @property
    def shown_as(self) -> str:
        """The host on whose timeline it is shown: one without a fit Name is known by its address, as Ansible knows it."""
        if self.host is not None:
            return str(self.host)
        for make, value in ((HostName.from_address, self.private), (HostName, self.id)):
            try:
                return str(make(value))
            except Refused:
                continue
        return ""

    @property
    def exists(self) -> bool:
        """Whether it may run, now or again; EC2 goes on to show terminated instances for an hour."""
        return self.state not in {"shutting-down", "terminated"}


def ask(regions: Sequence[str] = (), tag_role: str = TAG_ROLE) -> dict[str, list[Instance]]:
    """The instances of each region.

    Args:
        regions: default: the one that boto3 is configured for.
        tag_role: the tag that says what an instance is for.

    Raises:
        CannotAsk
    """
    import boto3.session  # noqa: PLC0415 - takes a quarter of a second
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = boto3.session.Session()
        usual = session.region_name or os.environ.get("AWS_REGION", "")  # which boto3 alone of AWS's libraries ignores
    except BotoCoreError as error:
        raise _because(error, "") from error
    chosen = list(dict.fromkeys(regions or filter(None, [usual])))
    if not chosen:
        raise CannotAsk("no region is set", "say which with --region, or AWS_REGION, or in ~/.aws/config")
    return {region: _ask_one(session, region, tag_role) for region in chosen}


def _ask_one(session: Any, region: str, tag_role: str) -> list[Instance]:
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    try:
        timeouts = Config(connect_timeout=CONNECT_WITHIN, read_timeout=ANSWER_WITHIN)
        client = session.client("ec2", region_name=region, config=timeouts)
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
        raise _because(error, region) from error
    try:
        pages = client.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": PAGE})
        return sorted(_instances(pages, region, tag_role), key=lambda instance: (instance.name, instance.id))
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise _because(error, region) from error


def _instances(pages: Any, region: str, tag_role: str) -> Iterator[Instance]:
    for page in pages:
        for reservation in page.get("Reservations", ()):
            for found in reservation.get("Instances", ()):
                tags = {tag.get("Key"): tag.get("Value", "") for tag in found.get("Tags", ())}
                yield Instance(
                    id=found["InstanceId"],
                    region=region,
                    name=tags.get(TAG_NAME, ""),
                    role=tags.get(tag_role, ""),
                    state=found.get("State", {}).get("Name", ""),
                    private=found.get("PrivateIpAddress", ""),
                    public=found.get("PublicIpAddress", ""),
                    launched=found["LaunchTime"].timestamp() if "LaunchTime" in found else 0.0,
                )


def _because(error: Exception, region: str) -> CannotAsk:
    """`error` as a sentence that says what to do."""
    from botocore import exceptions as aws  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    where = f"EC2 in {region}" if region else "EC2"
    reasons: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
        ((aws.NoCredentialsError,), f"{where} cannot be asked: there are no AWS credentials", _CREDENTIALS),
        (
            (aws.ProfileNotFound, aws.ConfigParseError, aws.ConfigNotFound),
            f"AWS's own configuration cannot be used: {error}",
            "correct AWS_PROFILE, or ~/.aws/config",
        ),
        (
            (aws.InvalidRegionError, aws.NoRegionError),
            f"there is no such region: {error}",
            "say which with --region, or AWS_REGION, or in ~/.aws/config",
        ),
        (
            (aws.HTTPClientError, aws.ConnectionError, ValueError),
            f"{where} cannot be reached: {error}",
            "look at the network, the proxy, the region's name and AWS_ENDPOINT_URL_EC2; then try again",
        ),
    )
    if isinstance(error, aws.ClientError):
        return _refused(error.response, where)
    if isinstance(error, ResponseParserError):
        return CannotAsk(
            f"what answers in place of {where} does not speak as EC2 does: {error}",
            "look at the proxy and AWS_ENDPOINT_URL_EC2; then try again",
        )
    for kinds, why, following in reasons:
        if isinstance(error, kinds):
            return CannotAsk(why, following)
    return CannotAsk(f"{where} cannot be asked: {type(error).__name__}: {error}", _CREDENTIALS)


def _refused(answer: Mapping[str, Any], where: str) -> CannotAsk:
    code, message = answer.get("Error", {}).get("Code", ""), answer.get("Error", {}).get("Message", "")
    if code in _NOT_ALLOWED:
        return CannotAsk(
            f"{where} refuses: these credentials may not {PERMISSION} ({code}: {message})",
            f"allow {PERMISSION} to this role or user; nothing else is needed",
        )
    if code in _NOT_TRUSTED:
        return CannotAsk(f"{where} does not take the credentials ({code}: {message})", f"renew them, or {_CREDENTIALS}")
    return CannotAsk(f"{where} answered {code}: {message}", "try again")
