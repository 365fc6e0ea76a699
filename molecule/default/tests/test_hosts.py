"""A deployed fleet, seen from outside: what runs, who may read what, and that nothing else on the hosts was touched."""

import re

import pytest

SERVICES = ("serve", "incidents", "crashes", "crashmover")
SOCKETS = ("serve", "crashes")
LISTENS = ("tcp://0.0.0.0:3118", "tcp://0.0.0.0:8000", "tcp://127.0.0.1:8642")
STATE = "/var/lib/lae-monitor"
EXPOSURE = 2.0  # at most, of systemd-analyze security

# What a deployment may bring to a monitor host, and to any host that Ansible visits.
OURS = re.compile(
    r"/opt/lae-monitor|/etc/lae-monitor|/var/lib/lae-monitor|/home/gatherer"
    r"|/usr/local/bin/lae-monitor$|/etc/tmpfiles\.d/lae-monitor\.conf$|/etc/systemd/system/(?:[\w-]+\.target\.wants/)?lae-monitor-"
    r"|/etc/systemd/system/sockets\.target\.wants$"
    r"|/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-$|/var/mail/gatherer$"
)
OURS_ON_NODES = re.compile(
    r"/(?:usr/local/lib|etc|var/lib|var/lib/private)/lae-crash-reporter(?:/|$)|/var/lib/private$"
    r"|/etc/systemd/system/(?:[\w-]+\.target\.wants/)?lae-crash-reporter\.|/etc/systemd/system/(?:paths|timers)\.target\.wants$"
)
VISIT = re.compile(
    r"/root/\.ansible|/(?:var/log|run/log)/|/var/lib/systemd/|/var/tmp/|/home/customer/|.*/__pycache__(?:/|$)"
)


@pytest.mark.parametrize("address", LISTENS)
def test_it_listens_where_it_should(monitor, address):
    assert monitor.socket(address).is_listening


@pytest.mark.parametrize("unit", [f"{part}.service" for part in SERVICES] + [f"{part}.socket" for part in SOCKETS])
def test_every_unit_runs_now_and_after_a_restart_of_the_host(monitor, unit):
    service = monitor.service(f"lae-monitor-{unit}")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("part", SERVICES)
def test_no_service_was_started_again_or_runs_as_root(monitor, part):
    told = monitor.check_output(f"systemctl show -p NRestarts -p User -p SubState lae-monitor-{part}")
    assert set(told.split()) == {"NRestarts=0", "User=gatherer", "SubState=running"}


@pytest.mark.parametrize("part", SERVICES)
def test_every_unit_is_closed(monitor, part):
    told = monitor.check_output(f"systemd-analyze security --no-pager lae-monitor-{part}.service")
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", told)[1]) <= EXPOSURE


def test_no_unit_of_the_host_has_failed(each):
    assert each.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_only_the_services_read_what_was_gathered(monitor):
    state = monitor.file(STATE)
    assert (state.user, state.group, state.mode) == ("gatherer", "gatherer", 0o700)
    assert monitor.check_output(rf"find {STATE} ! -type l \( -perm /077 -o ! -user gatherer \)") == ""


def test_credentials_are_files_0600_in_folders_0700(monitor):
    listed = monitor.check_output(f"find {STATE}/credentials -printf '%y %m %u\\n'").splitlines()
    assert set(listed) == {"d 700 gatherer", "f 600 gatherer"}


def test_operators_find_incidents_in_the_home_of_gatherer(monitor):
    link = monitor.file("/home/gatherer/incident")
    assert link.is_symlink
    assert link.linked_to == f"{STATE}/archive/incidents/lae"
    assert monitor.file(link.linked_to).is_directory


def test_the_program_is_on_the_path(monitor):
    assert re.match(r"lae-monitor, version \d", monitor.check_output("lae-monitor --version"))


def listing(lines):
    return dict(line.split("\t") for line in lines.splitlines() if line)


@pytest.fixture(scope="module")
def paths(each, before):
    """Type, mode and owner of every path, before the first deployment and now; as prepare.yml asks for it."""
    now = each.run(r"find /etc /home /opt /root /usr /var -xdev -printf '%p\t%y %#m %u:%g\n'").stdout
    return listing(before), listing(now)


def test_nothing_that_was_there_has_another_owner_or_mode(paths):
    before, now = paths
    assert {path: (was, now[path]) for path, was in before.items() if path in now and now[path] != was} == {}
    for folder in ("/etc", "/root", "/usr", "/var", "/opt", "/home", "/usr/local/bin", "/etc/systemd/system"):
        assert now[folder] == before[folder]


def test_nothing_was_added_or_taken_but_what_is_ours(is_monitor, paths):
    before, now = paths
    differ = sorted(before.keys() ^ now.keys())
    ours = OURS if is_monitor else OURS_ON_NODES
    assert [path for path in differ if not (VISIT.match(path) or ours.match(path))] == []


def test_what_is_ours_belongs_to_root_and_cannot_be_written_by_others(monitor):
    found = monitor.check_output(
        r"find /opt/lae-monitor /etc/lae-monitor /etc/systemd/system/lae-monitor-* /etc/tmpfiles.d/lae-monitor.conf "
        r"! -type l \( ! -user root -o ! -group root -o -perm /022 \)"
    )
    assert found == ""


@pytest.mark.parametrize("unit", ["lae-crash-reporter.timer", "lae-crash-reporter.path"])
def test_nodes_watch_for_crashes_now_and_after_a_restart(node, unit):
    service = node.service(unit)
    assert service.is_running
    assert service.is_enabled


def test_what_reports_crashes_is_closed_and_runs_as_nobody_else(node):
    told = node.check_output("systemd-analyze security --no-pager lae-crash-reporter.service")
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", told)[1]) <= EXPOSURE
    told = node.check_output("systemctl show -p Result -p DynamicUser -p User lae-crash-reporter.service")
    assert set(told.split()) == {"Result=success", "DynamicUser=yes", "User=lae-crash-reporter"}


def test_what_reports_crashes_belongs_to_root_and_cannot_be_written_by_others(node):
    found = node.check_output(
        r"find /usr/local/lib/lae-crash-reporter /etc/lae-crash-reporter /etc/systemd/system/lae-crash-reporter.* "
        r"! -type l \( ! -user root -o ! -group root -o -perm /022 \)"
    )
    assert found == ""
