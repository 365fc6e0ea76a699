"""`check config` finds what would keep the gatherer from starting, or from being safe."""

import pytest

from lae_monitor.config import Settings
from lae_monitor.config.settings import State
from lae_monitor.config.values import Listen
from lae_monitor.kinds.sonar.check import check
from lae_monitor.kinds.sonar.config import Settings as SonarSettings


def problems(folder, **settings):
    own = SonarSettings(**{"listen": Listen("127.0.0.1:0"), **settings})
    return list(check(Settings(state=State(path=folder), gatherers={"sonar": own})))


def write(folder, text, mode=0o600):
    path = folder / "credentials" / "sonar" / "exfil-auth.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_sound_configuration_has_no_problem(tmp_path):
    write(tmp_path, "mlx.hpc.uio.no:pw\n")
    assert problems(tmp_path, listen=Listen("0.0.0.0:8086")) == []
    assert problems(tmp_path, auth_file="") == []
    assert problems(tmp_path, auth_file=str(write(tmp_path, "c:x"))) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:8086", "10.0.0.7:8086", ":8086", "[::]:8086", "monitoring.example:8086"])
def test_to_let_anybody_send_from_elsewhere_is_a_problem(tmp_path, listen):
    (problem,) = problems(tmp_path, auth_file="", listen=Listen(listen))
    assert listen in problem
    assert "no loopback address" in problem


def test_a_missing_or_broken_password_file_is_a_problem(tmp_path):
    (problem,) = problems(tmp_path)
    assert "there is no such file; lae-monitor token new sonar makes it" in problem
    write(tmp_path, "c:pw\nnonsense")
    (problem,) = problems(tmp_path)
    assert problem.endswith("line 2 is not of the form user:password")


def test_a_password_file_for_all_to_read_is_a_problem(tmp_path):
    path = write(tmp_path, "c:pw", mode=0o640)
    (problem,) = problems(tmp_path)
    assert problem == f"gatherers.sonar.auth_file: {path} can be read by others than its owner; chmod it to 600"


def test_a_user_that_can_never_send_is_a_problem(tmp_path):
    write(tmp_path, "c:pw\n-x:pw\n")
    (problem,) = problems(tmp_path)
    assert "'-x' cannot be a cluster's name" in problem
    assert problems(tmp_path, match_user_and_cluster=False) == []


def test_proxies_have_to_be_addresses(tmp_path):
    write(tmp_path, "c:pw")
    (problem,) = problems(tmp_path, trusted_proxies=("proxy.example",))
    assert problem.startswith("gatherers.sonar.trusted_proxies: ")
