"""Files of another account are edited by sudo, and by nothing but what the operator allowed."""

import re


def test_files_of_another_account_are_edited_by_sudo(deployed):
    node = deployed.lab.hosts["node1"]
    node.exec(["sh", "-euc", """
        useradd --create-home --shell /bin/bash ops
        install -d -o ops -m 0700 ~ops/.ssh
        install -o ops -m 0600 /root/.ssh/authorized_keys ~ops/.ssh/authorized_keys
    """], check=True)  # fmt: skip
    path = "/home/customer/storageserver/tahoe.cfg"
    before = node.read(path)
    owner = node.exec(["stat", "-c", "%U %G %a", path]).stdout

    def set_option(*options):
        ssh = f"--identity {deployed.lab.folder}/id_ed25519 --known-hosts {deployed.lab.folder}/known_hosts --user ops"
        where = "--on node1 --nodes /home/customer/storageserver --no-restart"
        done = deployed.shell(
            f"lae-monitor fleet set-option client by.sudo yes {where} {ssh} {' '.join(options)}", check=False
        )
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)

    code, said = set_option()
    assert (code, node.read(path)) == (1, before), said
    assert "not permitted" in said
    assert "--sudo" in said, "the way to do it is named"
    code, said = set_option("--sudo")
    assert (code, node.read(path)) == (1, before), said
    assert "let that account run python3 by sudo without a password" in said
    node.exec(["sh", "-c", "echo 'ops ALL=(root) NOPASSWD: /usr/bin/python3' > /etc/sudoers.d/ops"])
    code, said = set_option("--sudo", "--dry-run")
    assert (code, node.read(path)) == (0, before), said
    assert "+by.sudo = yes" in said
    code, said = set_option("--sudo")
    assert code == 0, said
    after = node.read(path)
    assert after.replace(b"by.sudo = yes\n", b"", 1).split() == before.split()
    assert node.exec(["stat", "-c", "%U %G %a", path]).stdout == owner
    assert set_option("--sudo")[0] == 0
    assert node.read(path) == after
    logged = node.exec(["journalctl", "--no-pager", "_COMM=sudo"]).stdout
    assert "python3 -I -c" in logged
    assert "by.sudo" not in logged
    node.write(path, before, 0o600)
    node.exec(["sh", "-euc", f"chown {owner.split()[0]}:{owner.split()[1]} {path}; chmod {owner.split()[2]} {path}; "
               "rm /etc/sudoers.d/ops; userdel --remove ops 2>/dev/null"])  # fmt: skip
