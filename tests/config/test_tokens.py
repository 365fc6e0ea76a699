"""`lae-monitor token`: a password is shown once, kept as a hash, and lets its cluster in until it is revoked."""

import base64
import json
import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lae_monitor.cli.group import top
from lae_monitor.core.refusals import Refused
from lae_monitor.net.passwords import Passwords


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def token(state):
    def run(*arguments, **environ):
        environ = {"LAE_MONITOR__STATE__PATH": str(state), **environ}
        return CliRunner(env=environ).invoke(top, ["token", *arguments])

    return run


@pytest.fixture
def file(state):
    return state / "credentials" / "sonar" / "exfil-auth.txt"


def let_in(file, user, password):
    header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        return Passwords(file).user_of(header) == user
    except Refused:
        return False


def ids(token):
    return [one["id"] for one in json.loads(token("list", "--json").stdout)["tokens"]]


def test_a_new_password_lets_its_cluster_in_and_is_kept_as_a_hash_only(token, file):
    made = token("new", "sonar", "--cluster", "mlx.hpc.uio.no")
    password = made.stdout.strip()
    assert made.exit_code == 0
    assert len(password) >= 32
    assert let_in(file, "mlx.hpc.uio.no", password)
    assert not let_in(file, "other", password)
    assert password not in file.read_text()
    assert password not in made.stderr
    assert "Next: " in made.stderr
    assert password not in token("list").stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_default_cluster_is_that_of_the_fleet(token, file):
    answer = json.loads(token("new", "sonar", "--json", LAE_MONITOR__FLEET__NAME="mlx").stdout)
    assert answer["cluster"] == "mlx"
    assert let_in(file, "mlx", answer["password"])
    assert answer["id"] in ids(token)


def test_rotation_two_passwords_are_good_until_one_is_revoked(token, file):
    one, two = (json.loads(token("new", "sonar", "--json").stdout) for _ in range(2))
    assert one["password"] != two["password"]
    assert let_in(file, "lae", one["password"])
    assert let_in(file, "lae", two["password"])
    revoked = token("revoke", "sonar", one["id"])
    assert (revoked.exit_code, one["id"] in revoked.stdout) == (0, True)
    assert not let_in(file, "lae", one["password"])
    assert let_in(file, "lae", two["password"])
    assert one["id"] not in file.read_text()
    gone = token("revoke", "sonar", two["id"])
    assert "lae has no password left: it can send nothing" in gone.stdout
    assert not let_in(file, "lae", two["password"])


def test_lines_that_somebody_wrote_stay_as_they_are_and_can_be_revoked(token, file):
    file.parent.mkdir(parents=True)
    file.write_text("# ours\n\nmlx:in clear: yes\n\nfox/of the first infiltrate\n")
    assert let_in(file, "mlx", "in clear: yes")
    token("new", "sonar", "--cluster", "fox")
    assert file.read_text().startswith("# ours\n\nmlx:in clear: yes\n\nfox/of the first infiltrate\n# ")
    listed = token("list").stdout
    assert "yes" not in listed
    assert listed.count("in clear") == 2
    assert ids(token)[:2] == ["line-3", "line-5"]
    assert token("revoke", "sonar", "line-3").exit_code == 0
    assert file.read_text().startswith("# ours\n\n\nfox/of the first infiltrate\n# ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_unknown_id_changes_nothing_and_exits_1(token, file):
    made = json.loads(token("new", "sonar", "--json").stdout)
    before = file.read_bytes()
    refused = token("revoke", "sonar", made["id"], "ffffffff")
    assert (refused.exit_code, "ffffffff" in refused.stderr) == (1, True)
    assert file.read_bytes() == before


def test_a_file_that_is_not_understood_is_never_overwritten(token, file):
    file.parent.mkdir(parents=True)
    for wrong in (b"mlx:good\nno colon here\n", b"mlx:\xff\n", b"mlx:sha256$00$11\n"):
        file.write_bytes(wrong)
        for arguments in (("new", "sonar"), ("list",), ("revoke", "sonar", "line-1")):
            refused = token(*arguments)
            assert refused.exit_code in {69, 78}, (wrong, arguments)
            assert str(file) in refused.stderr
        assert file.read_bytes() == wrong


@pytest.mark.parametrize("cluster", ["../x", "", "a b", "a:b", "x" * 300])
def test_a_name_that_no_cluster_can_have_is_refused(token, file, cluster):
    refused = token("new", "sonar", "--cluster", cluster)
    assert (refused.exit_code, "bad_cluster_name" in refused.stderr) == (2, True)
    assert not file.exists()


def test_without_a_password_file_there_is_nothing_to_make(token):
    refused = token("new", "sonar", LAE_MONITOR__GATHERERS__SONAR__AUTH_FILE="")
    assert (refused.exit_code, "anybody on this host may send" in refused.stderr) == (78, True)


def test_nobody_can_send_before_the_first_password(token):
    listed = token("list")
    assert (listed.exit_code, "samples are refused" in listed.stdout) == (0, True)


# ---- as root, for the account of the services ----------------------------------------------------------------------


@pytest.fixture
def of_nobody(state):
    """The state folder, which belongs to another account; runs a command on it as root does."""
    if os.geteuid() != 0:
        pytest.skip("gives the state folder to another account: needs root")
    os.chown(state, 65534, 65534)
    for above in state.parents:
        if "pytest" in str(above):
            above.chmod(0o755)

    def run(*arguments):
        program = [sys.executable, "-c", "from lae_monitor.cli import main; main()", *arguments]
        environ = os.environ | {"LAE_MONITOR__STATE__PATH": str(state)}
        done = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return {path.name: path.stat().st_uid for path in (state / "credentials").rglob("*")}

    return run


def test_what_root_makes_belongs_to_the_account_of_the_services(of_nobody, file):
    owners = of_nobody("token", "new", "sonar")
    assert {"sonar", file.name} <= set(owners)
    assert set(owners.values()) == {65534}


def test_what_root_registers_belongs_to_the_account_of_the_services(of_nobody):
    try:
        subprocess.run([sys.executable, "-c", "import http.cookiejar"], user=65534, check=True, capture_output=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the other account cannot read this Python, so no service could run under it")
    owners = of_nobody("fleet", "register", "incident", "--host", "node1")
    assert {"gatherer.pem", "node1.furl"} <= set(owners)
    assert set(owners.values()) == {65534}


def test_a_token_of_a_product_is_made_listed_and_revoked(token, state):
    made = token("new", "crashes", "--product", "My: Editor")
    secret = made.stdout.strip()
    assert "Authorization: Bearer" in made.stderr
    submitter = json.loads(token("new", "crashes", "--submitter", "--json").stdout)
    file = state / "credentials" / "crashes" / "tokens.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in file.read_text()
    listed = json.loads(token("list", "--json").stdout)["tokens"]
    assert [one["product"] for one in listed if one["kind"] == "crashes"] == ["My: Editor", "submitters"]
    gone = token("revoke", "crashes", submitter["id"], listed[0]["id"])
    assert "My: Editor has no token left: its reports are taken without one" in gone.stdout
    assert json.loads(token("list", "--json").stdout)["tokens"] == []


def test_a_token_is_for_somebody(token):
    for arguments in (["crashes"], ["crashes", "--product", " "], ["crashes", "--cluster", "c", "--submitter"]):
        assert token("new", *arguments).exit_code == 2
    assert token("new", "crashes", "--product", "P", "--submitter").exit_code == 2
    assert token("new", "sonar", "--product", "P").exit_code == 2
