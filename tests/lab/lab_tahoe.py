"""Makes a host what LeastAuthority's are: an account `customer` with a storage server and an introducer of Tahoe-LAFS.

    /home/customer/storageserver    its page is on http://127.0.0.1:3456/, on the host only
    /home/customer/introducer
    /home/customer/restart.sh       restarts both, as operators there are used to
    tahoe-storageserver.service, tahoe-introducer.service

They listen at the host's public address, and the storage server knows the introducer.
"""

from lab_hosts import Host

WEB = 3456
STORAGE = 3457
INTRODUCER = 3458
DEADLINE = 120.0  # seconds; a quiet machine takes five for two hosts side by side

UNIT = """[Unit]
Description=Tahoe-LAFS {node}
After=network.target

[Service]
User=customer
WorkingDirectory=/home/customer
# Without the option it ends when its standard input does, and systemd's is /dev/null.
ExecStart=/opt/tahoe/bin/tahoe run --allow-stdin-close /home/customer/{node}
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""

# All in one go on the host. An introducer makes its FURL at its first start; the storage server's folder is made meanwhile.
MAKE = r"""set -eu
address=$1 name=$2 web=$3 storage=$4 introducer=$5
tahoe() { setpriv --reuid customer --regid customer --init-groups env HOME=/home/customer /opt/tahoe/bin/tahoe --quiet "$@"; }
useradd --create-home --shell /bin/bash customer
cd /home/customer
cat > restart.sh <<'END'
#!/bin/sh
exec sudo systemctl restart tahoe-introducer tahoe-storageserver
END
chown customer: restart.sh
chmod 0755 restart.sh
echo 'customer ALL=(root) NOPASSWD: /usr/bin/systemctl restart tahoe-introducer tahoe-storageserver' > /etc/sudoers.d/customer
chmod 0440 /etc/sudoers.d/customer
tahoe create-node --nickname="$name" --port="tcp:$storage" --location="tcp:$address:$storage" \
    --webport="tcp:$web:interface=127.0.0.1" --shares-needed=1 --shares-happy=1 --shares-total=1 storageserver &
node=$!
tahoe create-introducer --port="tcp:$introducer" --location="tcp:$address:$introducer" introducer
systemctl enable --quiet tahoe-introducer tahoe-storageserver
systemctl start --no-block tahoe-introducer
wait $node
n=0
until [ -s introducer/private/introducer.furl ]; do
    n=$((n + 1)); [ $n -lt 1000 ] || { echo 'the introducer makes no FURL' >&2; exit 1; }
    sleep 0.1
done
printf 'introducers:\n  own:\n    furl: %s\n' "$(cat introducer/private/introducer.furl)" > storageserver/private/introducers.yaml
chown customer: storageserver/private/introducers.yaml
chmod 0600 storageserver/private/introducers.yaml
systemctl start tahoe-storageserver
until curl --silent --fail --max-time 5 --output /dev/null "http://127.0.0.1:$web/"; do
    n=$((n + 1)); [ $n -lt 1000 ] || { echo 'the node does not answer on its page' >&2; exit 1; }
    sleep 0.1
done
"""


def _units() -> str:
    """Writes both units."""
    return "".join(
        f"cat > /etc/systemd/system/tahoe-{node}.service <<'END'\n{UNIT.format(node=node)}END\n"
        for node in ("introducer", "storageserver")
    )


def make(host: Host) -> None:
    """Returns when the storage server answers on its page.

    Raises:
        LabError: it does not, or something before failed.
    """
    ports = [str(port) for port in (WEB, STORAGE, INTRODUCER)]
    words = ["sh", "-s", host.public_address, host.name, *ports]
    host.exec(words, _units() + MAKE, check=True, timeout=DEADLINE)
