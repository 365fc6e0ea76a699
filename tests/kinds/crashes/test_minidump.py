"""A minidump's headers are read without believing them; other readers of the format agree with us."""

import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minidump.minidumpfile import MinidumpFile

from lae_monitor.kinds.crashes.form import BASE, FAULT, MODULE, minidump
from lae_monitor.kinds.crashes.minidump import reason_of, summarise

NOW = 1795340674.0
SAMPLE = minidump(NOW)


def test_the_sample_is_a_minidump_for_an_independent_reader():
    parsed = MinidumpFile.parse_bytes(SAMPLE)
    assert [module.name for module in parsed.modules.modules] == [MODULE]
    assert parsed.modules.modules[0].baseaddress == BASE
    (thread,) = parsed.threads.threads
    (exception,) = parsed.exception.exception_records
    assert exception.ThreadId == thread.ThreadId == 4242
    assert exception.ExceptionRecord.ExceptionAddress == FAULT
    assert parsed.sysinfo.ProcessorArchitecture.name == "AMD64"
    (stack,) = parsed.memory_segments.memory_segments
    assert stack.size == 64


def test_the_sample_is_a_minidump_for_file(tmp_path):
    (tmp_path / "x.dmp").write_bytes(SAMPLE)
    try:
        said = subprocess.run(["file", tmp_path / "x.dmp"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("file(1) is not installed")
    assert "Mini DuMP crash report" in said


def test_the_summary_of_the_sample():
    summary = summarise(SAMPLE)
    assert (summary.os, summary.cpu, summary.reason, summary.module) == ("Linux", "x86-64", "SIGSEGV", "lae-test")
    assert (summary.streams, summary.threads, summary.modules, summary.processors) == (5, 1, 1, 2)
    assert (summary.code, summary.address, summary.written) == (11, FAULT, NOW)
    assert "6.1.0" in summary.os_version


def test_we_and_an_independent_reader_see_the_same_in_a_real_dump(gatherer, crash_with_crashpad):
    dump, _ = crash_with_crashpad(f"http://127.0.0.1:{gatherer.port}/submit")
    summary, parsed = summarise(dump), MinidumpFile.parse_bytes(dump)
    assert summary.modules == len(parsed.modules.modules)
    assert summary.threads == len(parsed.threads.threads)
    assert summary.streams == parsed.header.NumberOfStreams
    assert summary.module in {module.name.rpartition("/")[2] for module in parsed.modules.modules}


def test_only_so_many_modules_are_looked_at():
    """The number of modules is the sender's word; the last of 5,000 holds the crash, and is not found."""
    modules = [struct.pack("<QIIII84x", 0x10000 * number, 0x10000, 0, 0, 0) for number in range(5000)]
    directory = struct.pack("<IIIIII", 4, 0, 56, 6, 0, 60 + 108 * 5000)
    name = 60 + 108 * 5000 + 168
    exception = struct.pack("<IIIIQQ", 1, 0, 11, 0, 0, 0x10000 * 4999) + bytes(136)

    def dump(number):
        named = [*modules]
        named[number] = struct.pack("<QIIII84x", 0x10000 * 4999, 0x10000, 0, 0, name)
        header = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, 2, 32, 0, 0, 0) + directory + struct.pack("<I", 5000)
        return header + b"".join(named) + exception + struct.pack("<I", 2) + "x".encode("utf-16-le")

    assert summarise(dump(4000)).module == "x"
    assert summarise(dump(4999)).module == ""


@pytest.mark.parametrize("data", [b"", b"MDMP", b"PMDM" + SAMPLE[4:], SAMPLE[:31], b"MDMP\0\0\0\0" + SAMPLE[8:]])
def test_what_is_no_minidump_has_no_summary(data):
    assert summarise(data) is None


@pytest.mark.parametrize("cut", range(32, len(SAMPLE), 7))
def test_a_dump_cut_short_gives_what_is_there(cut):
    assert summarise(SAMPLE[:cut]).streams == 5


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_no_content_makes_it_fail(tail, count, directory):
    summarise(struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, count, directory, 0, 0, 0) + tail)


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=30))
def test_no_damage_makes_it_fail(changes):
    damaged = bytearray(SAMPLE)
    for place, value in changes:
        damaged[place] = value
    summarise(bytes(damaged))
    summarise(memoryview(damaged))


@pytest.mark.parametrize(
    ("os", "code", "reason"),
    [
        ("Linux", 6, "SIGABRT"),
        ("Android", 11, "SIGSEGV"),
        ("Linux", 0xFFFFFFFF, "dump requested"),
        ("Linux", 77777, "0x00012fd1"),
        ("Windows", 0xC0000005, "ACCESS_VIOLATION"),
        ("Windows", 11, "0x0000000b"),
        ("macOS", 1, "EXC_BAD_ACCESS"),
        ("", 11, "SIGSEGV"),
    ],
)
def test_reasons_have_the_systems_own_names(os, code, reason):
    assert reason_of(os, code) == reason
