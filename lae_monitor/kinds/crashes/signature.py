"""One line that crashes of the same mistake have in common, and what went into it. Pure, and bounded whatever was sent.

With a stack, it is made as Socorro makes it, by its own library `siggen`: from Firefox's `StackTraces`, from a Java trace,
and from the annotations that stand for a crash better than its stack does (out of memory, aborts, shutdowns that took too
long, channels between processes). Frames without a function, which is what a client without symbols sends, count by module
and offset. Without a stack, it is reason and module.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.secrets import redact
from lae_monitor.kinds.crashes.minidump import Summary

MAX_STACKS: Final = 2 * MiB  # characters of StackTraces that are looked into: as much as one annotation may have
MAX_FRAMES: Final = 40  # of the crashing thread; siggen looks at no more
MAX_WORD: Final = 400  # characters of a function, a module, a file: its patterns are tried on each
MAX_TRACE: Final = 64 * KiB  # characters of a Java trace or exception, or of AsyncShutdownTimeout
MAX_MESSAGE: Final = 2_000  # characters of an abort message, of which 80 are used
MAX_REASON: Final = 80  # characters of MozCrashReason, as siggen has it for abort messages
MAX_LENGTH: Final = 255  # characters of a signature; Socorro's own limit
MAX_MODULES: Final = 3  # that stand in a signature without functions
MAX_WHY: Final = 8  # reasons that are told

NO_STACK: Final = "reason and module: there is no stack"
NO_REASON: Final = "there is neither a stack nor a reason"
NO_SYMBOLS: Final = "frames of thread {thread} by module and offset: they have no symbols"

# Prefixes for siggen, because with symbols a frame in them says little; without, their offset says all.
_OWN: Final = frozenset({"libxul.so", "xul.dll", "xul"})
_NUMBER: Final = re.compile(r"(?<![\w.])[0-9][0-9.,]*(?![\w])")  # sizes and indexes, which differ from crash to crash
_CHANGED: Final = re.compile(r'(\w+): change signature: "')
_QUIET: Final = frozenset(
    {"_Stack", "SignatureGenerationRule", "SigFixWhitespace", "SigTruncate"}
)  # rules that say nothing of the crash


class Signature(NamedTuple):
    """`text`, at most MAX_LENGTH characters, and what it was made from."""

    text: str
    why: tuple[str, ...]


class _Thread(NamedTuple):
    """The crashing thread."""

    number: int
    frames: list[dict[str, Any]]
    told: int  # how many frames the sender told of


def signature_of(annotations: Mapping[str, str], summary: Summary | None, reason: str) -> Signature:
    """
    Args:
        annotations: as they came, each as text (JSON where the sender's was no text).
        summary: of the minidump, when there is a readable one.
        reason: what the crash is called when there is no stack; "" for nothing.
    """
    stacks = _object(annotations.get("StackTraces", ""), MAX_STACKS)
    data = _crash_data(annotations, summary, stacks)
    thread = _crashing_thread(stacks)
    data |= {"threads": [{"frames": thread.frames}], "crashing_thread": 0}
    base = _Stack(thread, _without_stack(summary, reason))
    result = _generator_of(base).generate(data)
    rules = dict.fromkeys(found[1] for line in result.debug_log if (found := _CHANGED.match(line)))
    notes = [note.partition(": ")[2] or note for note in result.notes]
    why = (*base.why, *(_rule(name) for name in rules if name not in _QUIET), *notes)
    text = str(result.signature).strip() or base.otherwise.text
    return Signature(text[:MAX_LENGTH], tuple(text[:MAX_WORD] for text in why[:MAX_WHY]))


def _rule(name: str) -> str:
    return f"rule {name}"


def _without_stack(summary: Summary | None, reason: str) -> Signature:
    where = ""
    if summary is not None and summary.module:
        where = summary.module if summary.offset is None else f"{summary.module}+0x{summary.offset:x}"
    text = " | ".join(filter(None, (_NUMBER.sub("N", reason[:MAX_MESSAGE])[:MAX_REASON], where[:MAX_WORD])))
    return Signature(text, (NO_STACK,)) if text else Signature("crash", (NO_REASON,))


# ---- siggen ------------------------------------------------------------------------------------------------------------


@cache
def _siggen() -> Any:
    # Only readers need it, so that a gatherer, which reads nothing, does not pay for it.
    return import_module("siggen.generator")


@cache
def _rules() -> tuple[Any, list[Any]]:
    """What makes a signature of frames, and the rules that come after it; all keep no state."""
    siggen = _siggen()
    return siggen.SignatureGenerationRule(), [rule() for rule in siggen.DEFAULT_RULESET[1:]]


def _generator_of(base: "_Stack") -> Any:
    return _siggen().SignatureGenerator(ruleset=[base, *_rules()[1]])


class _Stack:
    """The first rule: a signature of what there is. Has the two methods that siggen asks a rule for."""

    def __init__(self, thread: _Thread, otherwise: Signature) -> None:
        self._thread = thread
        self.otherwise = otherwise
        self.why: tuple[str, ...] = ()

    def predicate(self, _data: dict[str, Any], _result: Any) -> bool:
        return True

    def action(self, data: dict[str, Any], result: Any) -> None:
        try:
            self._look(data, result)
        except Exception as error:  # noqa: BLE001 - siggen stumbles over some names; that must not cost the signature
            result.info("_Stack", "the stack was passed over: %r", error)
        if not result.signature.strip() or result.signature.startswith("EMPTY"):
            self.why = self.otherwise.why
            result.set_signature("_Stack", self.otherwise.text)

    def _look(self, data: dict[str, Any], result: Any) -> None:
        by_frames = _rules()[0]
        if data.get("java_stack_trace") or data.get("java_exception"):
            self.why = ("JavaStackTrace" if data.get("java_stack_trace") else "JavaException",)
            by_frames.action(data, result)
        elif any(frame.get("function") for frame in self._thread.frames):
            told = self._thread.told
            self.why = (f"{told} {'frame' if told == 1 else 'frames'} of thread {self._thread.number}",)
            by_frames.action(data, result)
        elif text := _by_modules(self._thread.frames, by_frames.c_signature_tool):
            self.why = (NO_SYMBOLS.format(thread=self._thread.number),)
            result.set_signature("_Stack", text)


def _by_modules(frames: list[dict[str, Any]], lists: Any) -> str:
    """The first frame's module and offset, after those of libraries that others' mistakes end in."""
    parts: list[str] = []
    for frame in frames:
        module, offset = frame.get("module"), frame.get("offset")
        if not module or lists.irrelevant_signature_re.match(module):
            continue
        parts.append(f"{module}+{offset}" if offset else module)
        if len(parts) == MAX_MODULES or module.lower() in _OWN or not lists.prefix_signature_re.match(module):
            break
    return " | ".join(parts)


# ---- what was sent -----------------------------------------------------------------------------------------------------


def _crash_data(annotations: Mapping[str, str], summary: Summary | None, stacks: dict[str, Any]) -> dict[str, Any]:
    """What siggen's rules look at, but for the stack: see its schema.rst. The names are those of Socorro's processor."""

    def text(name: str, most: int = MAX_MESSAGE) -> str | None:
        return annotations.get(name, "")[:most] or None

    info = stacks.get("crash_info")
    windows = summary is not None and summary.os == "Windows"
    kind = info.get("type") if isinstance(info, dict) else None
    if not isinstance(kind, str) and summary is not None:
        kind = f"EXCEPTION_{summary.reason}" if windows else summary.reason
    hang = text("Hang", MAX_REASON) or ("plugin" if text("PluginHang") not in {None, "0"} or text("HangID") else None)
    return {
        "reason": kind[:MAX_WORD] if isinstance(kind, str) else None,
        "os": "Windows NT" if windows else None,
        "hang": hang,
        "oom_allocation_size": _number(annotations.get("OOMAllocationSize", "")),
        "js_large_allocation_failure": text("JSLargeAllocationFailure"),
        "abort_message": text("AbortMessage"),
        "async_shutdown_timeout": text("AsyncShutdownTimeout", MAX_TRACE),
        "ipc_channel_error": text("ipc_channel_error"),
        "ipc_message_name": text("IPCMessageName", MAX_LENGTH),
        "additional_minidumps": [
            name if name.startswith("upload_file_minidump") else f"upload_file_minidump_{name}"
            for name in annotations.get("additional_minidumps", "")[:MAX_MESSAGE].split(",")
            if name
        ],
        "java_stack_trace": text("JavaStackTrace", MAX_TRACE),
        "java_exception": _object(annotations.get("JavaException", ""), MAX_TRACE) or None,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _object(text: str, most: int) -> dict[str, Any]:
    """The JSON object `text`; empty for anything else, also for one that is too long or too deep."""
    if not text.startswith("{") or len(text) > most:
        return {}
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _crashing_thread(stacks: dict[str, Any]) -> _Thread:
    """The frames of the thread that StackTraces says has crashed, as siggen takes them: none where it makes no sense."""
    info, threads, modules = (stacks.get(name) for name in ("crash_info", "threads", "modules"))
    number = info.get("crashing_thread") if isinstance(info, dict) else None
    if number is None:
        number = stacks.get("crashing_thread", 0)
    if type(number) is not int or not isinstance(threads, list) or not 0 <= number < len(threads):
        return _Thread(0, [], 0)
    frames = threads[number].get("frames") if isinstance(threads[number], dict) else None
    if not isinstance(frames, list):
        return _Thread(number, [], 0)
    known = modules if isinstance(modules, list) else []
    return _Thread(
        number, [_frame(frame, known) for frame in frames[:MAX_FRAMES] if isinstance(frame, dict)], len(frames)
    )


def _frame(frame: dict[str, Any], modules: list[Any]) -> dict[str, Any]:
    taken: dict[str, Any] = {
        name: redact(frame[name])[:MAX_WORD]
        for name in ("function", "file", "module")
        if isinstance(frame.get(name), str)
    }
    line = frame.get("line")
    if type(line) is int and 0 <= line < 2**31:
        taken["line"] = line
    index = frame.get("module_index")
    module = modules[index] if type(index) is int and 0 <= index < len(modules) else None
    if isinstance(module, dict):
        name = module.get("filename")
        if "module" not in taken and isinstance(name, str):
            taken["module"] = name.replace("\\", "/").rpartition("/")[2][:MAX_WORD]
    offset = _hex(frame.get("module_offset"))
    if offset is None and isinstance(module, dict):
        address, start = _hex(frame.get("ip")), _hex(module.get("base_addr"))
        offset = address - start if address is not None and start is not None and address >= start else None
    if offset is not None:
        taken["offset"] = f"0x{offset:x}"
    return taken


def _hex(text: Any) -> int | None:
    if not isinstance(text, str) or not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        return None
    return int(text, 16)
