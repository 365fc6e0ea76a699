"""Host keys are believed as OpenSSH believes them: the real ssh, with the same known_hosts, is asked in each case."""

import subprocess

import pytest
from sshd import ME, keygen

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")

# name: lines of known_hosts, and whether ssh lets itself be led there. KEY: the host's; OTHER: another of the same kind; RSA: of another kind;
# PORT: the host's.
CASES = {
    "the host and its port": ("[127.0.0.1]:PORT KEY\n", True),
    "several names": ("node1,[127.0.0.1]:PORT,node2 KEY\n", True),
    "a pattern": ("[127.0.0.*]:PORT KEY\n", True),
    "a pattern of one letter": ("[127.0.0.?]:PORT KEY\n", True),
    "everything": ("* KEY\n", True),
    "a pattern with an exception": ("*,![127.0.0.1]:*,!127.0.0.1 KEY\n", False),
    "an exception first": ("![127.0.0.1]:PORT,!127.0.0.1,* KEY\n", False),
    "an exception of the port alone": ("*,![127.0.0.1]:* KEY\n", True),
    "another host's exception": ("![127.0.0.2]:PORT,* KEY\n", True),
    "brackets are no set of letters": ("[127.0.0.12]:PORT KEY\n", False),
    "a port that differs": ("[127.0.0.1]:1 KEY\n", False),
    "without a port": ("127.0.0.1 KEY\n", True),
    "another one without a port": ("127.0.0.1 OTHER\n", False),
    "a pattern without a port": ("127.0.* KEY\n", True),
    "an old one and the right one": ("[127.0.0.1]:PORT OTHER\n[127.0.0.1]:PORT KEY\n", True),
    "the right one by a pattern, an old one by its name": ("[127.0.0.1]:PORT OTHER\n* KEY\n", True),
    "one of another kind too": ("[127.0.0.1]:PORT RSA\n[127.0.0.1]:PORT KEY\n", True),
    "one of another kind alone": ("[127.0.0.1]:PORT RSA\n", False),
    "another one": ("[127.0.0.1]:PORT OTHER\n", False),
    "revoked, beside the right one": ("[127.0.0.1]:PORT KEY\n@revoked * KEY\n", False),
    "another one revoked": ("[127.0.0.1]:PORT KEY\n@revoked * OTHER\n", True),
    "an authority": ("@cert-authority * KEY\n", False),
    "a mark that nobody knows": ("@strange * KEY\n", False),
    "blanks, a tab, a remark, no end of line": ("  [127.0.0.1]:PORT\tKEY remark of mine", True),
    "a remark, an empty line, one that is none": (
        "# [127.0.0.1]:PORT KEY\n\nx\n|1|x|y KEY\n[127.0.0.1]:PORT KEY\n",
        True,
    ),
}


def key_of(path):
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(folder / "rsa")], check=True)
    return {"OTHER": key_of(keygen(folder / "other")), "RSA": key_of(folder / "rsa")}


def written(fleet, host, others, text):
    words = {**others, "KEY": key_of(host.key), "PORT": str(host.port)}
    for word, meant in words.items():
        text = text.replace(word, meant)
    fleet.known_hosts.write_text(text)


def ssh_goes_there(fleet, host):
    """What OpenSSH makes of the same file."""
    done = subprocess.run(
        [
            "ssh", "-F", "none", "-p", str(host.port), "-i", str(fleet.key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={fleet.known_hosts}", "-o", "UpdateHostKeys=no", f"{ME}@127.0.0.1", "true",
        ],
        capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.returncode == 0


def try_it(fleet, host, *words, code=None):
    return fleet("set-option", "node", "nickname", "n1", "--on", f"n=127.0.0.1:{host.port}", *words, code=code)


@pytest.mark.parametrize(("text", "believed"), CASES.values(), ids=CASES)
def test_a_key_is_believed_where_ssh_believes_it(fleet, new_host, others, text, believed):
    host = new_host(nodes=["storageserver"])
    written(fleet, host, others, text)
    assert ssh_goes_there(fleet, host) is believed
    assert (try_it(fleet, host).exit_code == 0) is believed


def test_hashed_names_are_understood_in_capitals_too(fleet, new_host, others):
    host = new_host(nodes=["storageserver"])
    written(fleet, host, others, "[localhost]:PORT KEY\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(fleet.known_hosts)], check=True, capture_output=True)
    fleet("set-option", "node", "nickname", "n1", "--on", f"n=LocalHost:{host.port}")
    assert "localhost" not in fleet.known_hosts.read_text()


@pytest.mark.parametrize("text", ["[127.0.0.1]:PORT RSA\n", "* OTHER\n", "[127.0.0.1]:PORT KEY\n@revoked * KEY\n"])
def test_what_contradicts_a_key_that_is_known_is_never_new(fleet, new_host, others, text):
    host = new_host(nodes=["storageserver"])
    written(fleet, host, others, text)
    before = fleet.known_hosts.read_text()
    done = try_it(fleet, host, "--host-keys", "accept-new", code=1)
    assert "changed host key" in done.stdout
    assert fleet.known_hosts.read_text() == before
    assert host.ran() == ""


def test_a_host_at_another_port_of_a_known_name_may_be_new(fleet, new_host, others):
    """As behind a gateway that leads each port to a host of its own."""
    host = new_host(nodes=["storageserver"])
    written(fleet, host, others, "127.0.0.1 OTHER\n")
    assert "unknown host key" in try_it(fleet, host, code=1).stdout
    try_it(fleet, host, "--host-keys", "accept-new", code=0)
    assert fleet.known_hosts.read_text().endswith(host.known)


def test_it_is_said_which_line_the_key_contradicts_and_that_authorities_are_not_understood(fleet, new_host, others):
    host = new_host(nodes=["storageserver"])
    written(fleet, host, others, "# one\n[127.0.0.1]:PORT OTHER\n")
    done = try_it(fleet, host, code=1)
    assert f"in line 2 of {fleet.known_hosts}" in done.stderr
    written(fleet, host, others, "@cert-authority * KEY\n")
    assert "an authority for it, whose certificates are not understood" in try_it(fleet, host, code=1).stderr


def test_a_known_hosts_file_that_cannot_be_kept_is_said_as_such(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    done = fleet(
        "set-option", "node", "nickname", "n1", "--on", f"n=127.0.0.1:{host.port}", "--host-keys", "accept-new",
        known_hosts="/proc/nowhere/known_hosts", code=1,
    )  # fmt: skip
    assert "where host keys are known, cannot be used" in done.stderr
    assert "--known-hosts" in done.stderr
