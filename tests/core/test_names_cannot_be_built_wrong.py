"""A name is safe as one component of a path, or it is refused by its code; the archive stays below its roots."""

import asyncio
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.archive import Archive, Reserve
from lae_monitor.archive.files import check_path
from lae_monitor.config.values import Inventory
from lae_monitor.core import names
from lae_monitor.core.names import (
    ClusterName,
    CrashId,
    HostName,
    LogLabel,
    Name,
    new_crash_id,
    usual_address,
)
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.check import known_hosts
from lae_monitor.kinds.incidents.takeover.plan import _host_of
from lae_monitor.kinds.incidents.wire.names import IncidentName

KINDS = [ClusterName, HostName, LogLabel, IncidentName, CrashId]

HOSTILE = [
    "", ".", "..", "...", "../x", "a/b", "/etc/passwd", "a\0b", "a\nb", "a\rb", "a\tb", "-rf", "--help", ".hidden", " a", "a ",
    "a" * 65_536, "héllo", "‮evil", "a\u200bb", "ａ", "٣", "a\udc80", "con:", "a\\b", "$(id)", "`id`", "a;b", "a|b", "a'b", '"',
    "~", "~root", "*", "?", "[a]", "{a}", "%2e%2e", "a%00", "\x7f", "\u2028", "a\x85",
]  # fmt: skip

_nasty = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="./\\-~\0\n\r a%:é\u202e", max_size=12),
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from([*HOSTILE, "a", "incident-x"]), max_size=4).map("/".join),
    st.text(alphabet=string.ascii_letters + string.digits + "._-:+", max_size=300),
)


def is_safe(name: str) -> bool:
    return (
        0 < len(os.fsencode(name)) <= 255
        and name.isascii()
        and name.isprintable()
        and "/" not in name
        and name[0] not in ".-~"
        and name.strip() == name
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_hostile_names_are_refused_by_code(kind, value):
    with pytest.raises(Refused) as refused:
        kind(value)
    assert refused.value.code == kind.code
    assert len(str(refused.value)) < 400, "a message does not repeat 64 KB"
    assert str(refused.value).isprintable()


@given(st.sampled_from(KINDS), _nasty)
def test_hypothesis_finds_no_name_that_is_not_safe(kind, value):
    try:
        name = kind(value)
    except Refused as refused:
        assert refused.code == kind.code
    else:
        assert is_safe(name)
        assert name == value
        check_path(f"logs/{name}")


@pytest.mark.parametrize("value", [None, 7, b"bytes", ["a"]])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_text_is_refused(kind, value):
    with pytest.raises(Refused):
        kind(value)


def test_every_kind_of_name_is_tried_here_and_has_its_code():
    ours = {kind for kind in KINDS if kind.__module__ == names.__name__}
    assert {kind for kind in Name.__subclasses__() if kind.__module__ == names.__name__} == ours
    assert all(kind.code in REASONS for kind in KINDS)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "ip6-fe80-0000-0000-0000-0000-0000-0000-0001"),
    ],
)
def test_an_address_is_a_name(address, name):
    assert HostName.from_address(address) == name


@pytest.mark.parametrize(
    ("address", "usual"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:0a00:0007%1", "10.0.0.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_compared_in_one_spelling(address, usual):
    assert usual_address(address) == usual
    inventory = Inventory.parse({address: "node1"})
    assert inventory == {usual: "node1"}
    assert known_hosts(inventory) == known_hosts({address: "node1"}) == inventory
    assert _host_of(address, inventory) == "node1"


@pytest.mark.parametrize("address", ["", "node1", "1.2.3", "1.2.3.4/8", "../x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(Refused):
        HostName.from_address(address)


def test_crash_ids_are_made_as_socorro_reads_them():
    crash_id = new_crash_id(1795355078.0, 1)
    assert crash_id == CrashId(crash_id)
    assert crash_id.day == "20261122"
    assert (crash_id[-7], crash_id[14]) == ("1", "4")
    assert len({new_crash_id(0.0) for _ in range(1000)}) == 1000


@given(_nasty)
def test_hypothesis_finds_no_path_out_of_the_archive(path):
    try:
        checked = check_path(path)
    except Refused as refused:
        assert refused.code == "bad_archive_path"
    else:
        assert not os.path.isabs(checked)
        assert os.path.normpath(checked) == checked
        assert ".." not in checked.split("/")
        assert all(is_safe(part) for part in checked.split("/"))


def test_nothing_is_written_outside_the_root(tmp_path):
    root = tmp_path / "in" / "root"
    bad = [value for value in HOSTILE if value not in {"con:", "a/b"}]  # in no name, but in a path
    paths = [*bad, *(f"crashes/{value}" for value in bad), *(f"{value}/x" for value in bad)]

    async def go():
        archive = Archive([root], "test", reserve=Reserve())
        await archive.open()
        refused = 0
        for path in paths:
            for attempt in (archive.store(path, [b"x"]), archive.append(path, b"x\n")):
                try:
                    await attempt
                except Refused as error:
                    assert error.code == "bad_archive_path"
                    refused += 1
        await archive.close()
        return refused

    before = set(tmp_path.rglob("*"))
    refused = asyncio.run(go())
    assert refused == 2 * len(paths)
    outside = {path for path in set(tmp_path.rglob("*")) - before if root not in (path, *path.parents)}
    assert outside == {root.parent}
