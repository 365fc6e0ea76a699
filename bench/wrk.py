"""Load by wrk: one thread, so that a core is left to who is measured."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """What came back. Latencies in milliseconds."""

    rate: float  # requests a second
    p50: float
    p99: float
    failed: int


def post(url: str, body: Path, headers: dict[str, str], connections: int, seconds: int) -> Load:
    """POSTs the file `body` again and again.

    Raises:
        RuntimeError: wrk did not run.
    """
    script = body.with_suffix(".lua")
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    lines += [
        'wrk.method = "POST"',
        f'local file = io.open("{body}", "rb")',
        'wrk.body = file:read("*a")',
        "file:close()",
    ]
    script.write_text("\n".join(lines) + "\n")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", found.stdout)
    if rate is None:
        raise RuntimeError(f"{found.stdout}{found.stderr}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", found.stdout)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", found.stdout)
    bad = (int(failed[1]) if failed else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Load(float(rate[1]), _latency(found.stdout, 50), _latency(found.stdout, 99), bad)


def _latency(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
