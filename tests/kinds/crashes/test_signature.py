"""Crashes of one mistake have one signature, those of two have two, and nothing that is sent makes it fail or take long."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.kinds.crashes import signature as module
from lae_monitor.kinds.crashes.minidump import Summary
from lae_monitor.kinds.crashes.signature import MAX_FRAMES, MAX_LENGTH, MAX_STACKS, MAX_WHY, signature_of

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "cases").glob("signature-*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


def made(case):
    annotations = dict(case.get("annotations", {}))
    if "stacks" in case:
        annotations["StackTraces"] = json.dumps(case["stacks"])
    summary = Summary(**case["summary"]) if "summary" in case else None
    reason = case.get("reason", summary.reason if summary else "")
    return signature_of(annotations, summary, reason)


@pytest.mark.parametrize("case", CASES)
def test_the_signature_is_that_of_the_case(case):
    found = made(case)
    assert found.text == case["signature"]
    if "why" in case:
        assert list(found.why) == case["why"]


def of_frames(frames, **annotations):
    stacks = {"crash_info": {"crashing_thread": 0}, "threads": [{"frames": frames}]}
    return signature_of({"StackTraces": json.dumps(stacks), **annotations}, None, "")


def test_the_same_place_in_another_run_is_the_same_and_another_place_is_not():
    """Addresses change with each run; where in the module it was does not."""

    def at(base, offset):
        modules = [{"filename": "libfoo.so", "base_addr": f"0x{base:x}"}]
        frames = [{"ip": f"0x{base + offset:x}", "module_index": 0}]
        stacks = {"modules": modules, "threads": [{"frames": frames}]}
        return signature_of({"StackTraces": json.dumps(stacks)}, None, "").text

    assert at(0x7F0000000000, 0x10) == at(0x7E0000000000, 0x10) == "libfoo.so+0x10"
    assert at(0x7F0000000000, 0x20) == "libfoo.so+0x20"


def test_what_is_sent_is_looked_at_only_so_far():
    assert len(of_frames([{"function": "x" * 100_000}]).text) <= MAX_LENGTH
    assert len(of_frames([{"function": "memcpy"}] * 100_000).text) <= MAX_LENGTH
    assert "Late" not in of_frames([*[{"function": "memcpy"}] * MAX_FRAMES, {"function": "Late"}]).text
    assert of_frames([{"function": "f" * 300, "file": "y" * MAX_STACKS}]).text == "crash"
    assert len(of_frames([{"function": "f"}], AbortMessage="a" * 2_000_000).text) <= MAX_LENGTH
    assert len(of_frames([], JavaStackTrace="a\n" * 1_000_000).text) <= MAX_LENGTH
    deep = {"StackTraces": '{"threads": ' + "[" * 200_000 + "]" * 200_000 + "}"}
    assert signature_of(deep, None, "SIGSEGV").text == "SIGSEGV"
    shutdown = {"AsyncShutdownTimeout": '{"phase": ' + "[" * 30_000 + "]" * 30_000 + "}"}
    assert signature_of(shutdown, None, "SIGSEGV").text == "SIGSEGV"


KEYS = (
    "threads", "frames", "modules", "crash_info", "crashing_thread", "type", "function", "file", "line", "module",
    "module_index", "module_offset", "ip", "base_addr", "filename", "exception", "values", "stacktrace",
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["0x10", "memcpy", "<", "(("]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
NAMES = (
    "StackTraces", "JavaException", "JavaStackTrace", "AsyncShutdownTimeout", "AbortMessage", "OOMAllocationSize",
    "JSLargeAllocationFailure", "ipc_channel_error", "IPCMessageName", "additional_minidumps", "Hang", "PluginHang", "HangID",
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | VALUES.map(json.dumps), max_size=6),
    st.none() | st.builds(Summary, streams=st.just(1), os=st.sampled_from(["", "Windows"]), reason=st.text(max_size=9),
                          module=st.text(max_size=9), offset=st.none() | st.integers(0, 2**64)),
    st.text(max_size=200),
)  # fmt: skip
def test_nothing_that_is_sent_makes_it_fail(annotations, summary, reason):
    found = signature_of(annotations, summary, reason)
    assert len(found.text) <= MAX_LENGTH
    assert len(found.why) <= MAX_WHY
    assert found.why
    assert found == signature_of(annotations, summary, reason)


@given(st.lists(st.text(alphabet="abc<>(){}[]`':&*, $_:~-|\\/0123456789.solid", max_size=60), max_size=6))
def test_names_of_functions_may_be_anything(names):
    found = of_frames([{"function": name, "file": name, "module": name, "line": 7} for name in names])
    assert found.text


def test_reading_the_module_loads_no_client_of_the_web_and_a_gatherer_none_of_it():
    """siggen is also a command that fetches crashes; what we use of it must not bring that in."""
    script = (
        "import sys, lae_monitor.kinds.crashes.read\n"
        "assert 'siggen' not in sys.modules\n"
        "from lae_monitor.kinds.crashes.signature import signature_of\n"
        "signature_of({'JavaStackTrace': 'a'}, None, '')\n"
        "assert 'siggen.generator' in sys.modules\n"
        "assert not {'requests', 'urllib3', 'siggen.cmd_fetch_data'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert module.__doc__
