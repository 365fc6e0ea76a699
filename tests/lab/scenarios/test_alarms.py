"""Alarms reach the destinations that the role was given, and their secrets nobody else."""

import json

from lab_hosts import await_that
from lab_site import LAE, one_line

RECEIVER = """
import http.server
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.path, self.headers["Authorization"], body, file=open("/srv/hooks", "a"))
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Hook).serve_forever()
"""


def test_alarms_reach_people_and_their_secrets_nobody_else(deployed):
    monitor = deployed.monitor
    monitor.exec(["systemd-run", "--unit=hooks", "python3", "-c", RECEIVER])
    await_that(lambda: "9999" in monitor.exec(["ss", "-ltn"]).stdout, "the receiver listens")
    told = {
        "monitor_alerts": {
            "expected": ["ghost"], "silent_after": "10s",
            "destinations": [{"type": "webhook", "name": "chat", "rules": ["host silent"]}],
        },
        "monitor_alerts_secrets": {"chat": "not-for-others", "chat.url": "http://127.0.0.1:9999/not-for-others-either"},
    }  # fmt: skip
    run = deployed.play("monitor", "-e", json.dumps(told)).fine()
    assert "not-for-others" not in run.said
    received = await_that(
        lambda: "ghost" in (found := monitor.exec(["cat", "/srv/hooks"]).stdout) and found,
        lambda: f"{monitor.exec([LAE, 'alert', 'list']).stdout}\n{monitor.journal('lae-monitor-serve')}",
        deadline=180,
    )
    expected = {one["host"]: one["why"] for one in deployed.ask("alert", "test")["hosts"]}
    assert expected == {"ghost": "alerts.expected", "node1": "has a FURL", "node2": "has a FURL"}, (
        "though serve sees no FURL"
    )
    assert received.startswith("/not-for-others-either Bearer not-for-others {")
    folder = "/var/lib/lae-monitor/credentials/alerts"
    assert monitor.exec(["sh", "-c", f"stat -c '%n %a %U' {folder}/*"]).stdout.split("\n")[:2] == [
        f"{folder}/chat 600 gatherer", f"{folder}/chat.url 600 gatherer"
    ]  # fmt: skip
    assert deployed.play("monitor", "-e", json.dumps(told)).changed() == {"monitor1": 0}
    left_over = {**told, "monitor_alerts_secrets": {"pager": "x"}}
    run = deployed.play("monitor", "-e", json.dumps(left_over))
    assert "pager: no destination in monitor_alerts has that name" in one_line(run.said)
    assert run.changed() == {"monitor1": 0}
    deployed.play("monitor").fine()
    assert monitor.exec(["ls", "-A", folder]).stdout == ""
    monitor.exec(["systemctl", "stop", "hooks"])
    monitor.exec(["rm", "/srv/hooks"])
