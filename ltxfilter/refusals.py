"""Memory and threads that the system refuses: told apart from other errors, with what to lower.

Libraries say it in many ways: MemoryError, the number of an OSError, or words alone. Some of these
also stand for damaged input or a wrong option; then what the system still grants decides.
"""

from __future__ import annotations

import errno
import mmap
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ltxfilter.errors import Interrupted, LtxFilterError, ResourceError
from ltxfilter.options import available_threads
from ltxfilter.values import MIB

LOWER = "lower -threads (before -i for decoding, after it for interpolating)"
NO_MEMORY = (
    f"the system refuses more memory{{}}: {LOWER} and --memory, or raise the limit, ulimit -v"
)
NO_THREADS = f"the system refuses to start another thread: {LOWER}, or raise the limit, ulimit -u"
THREAD_WORDS = re.compile("can't start new thread|Resource temporarily unavailable")
MEMORY_WORDS = re.compile(
    "[Cc]annot allocate memory|can't allocate memory|[Ii]nsufficient memory|bad_alloc"
    "|failed to map segment|cannot create shared object descriptor"
)
DOUBTFUL = ("BlockingIOError", "MemoryError", "ExternalError")  # PyAV's
SPARE = 64 * MIB  # bytes that a run can count on while memory is not short
ENCODER_THREADS = 8  # that an encoder starts besides one or two for each CPU


def refusal_of(error: BaseException) -> ResourceError | None:
    """Return what to raise for an error that stands for refused memory or threads, else None."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, ResourceError):
            return cause
        if isinstance(cause, Interrupted):
            return None
        if found := _refusal(cause):
            return found
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def refusals_named() -> Iterator[None]:
    """Raise ResourceError in place of any error within that stands for a refusal."""
    try:
        yield
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None or refusal is error:
            raise
        raise refusal from error


def check_threads(count: int) -> None:
    """Start `count` threads and end them again. Raises ResourceError if that is refused."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait, name="check")
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise refusal from None
    finally:
        over.set()
        for thread in started:
            thread.join()


def encoder_threads() -> int:
    """Return how many threads an encoder may start here, and the run beside it."""
    return 2 * available_threads() + ENCODER_THREADS


def _refusal(error: BaseException) -> ResourceError | None:
    """Judge one error, without its causes."""
    from_libav = type(error).__module__.startswith("av.")
    if from_libav and type(error).__name__ in DOUBTFUL:
        return _shortage()
    words = "" if isinstance(error, LtxFilterError) else str(error)
    no_memory = isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM
    no_thread = isinstance(error, RuntimeError) and THREAD_WORDS.search(words)
    if no_thread and not _memory_is_short():  # else it is the thread's stack that finds no room
        return ResourceError(NO_THREADS)
    if no_memory or no_thread or (not from_libav and MEMORY_WORDS.search(words)):
        return ResourceError(NO_MEMORY.format(_limit_text()))
    return None


def _shortage() -> ResourceError | None:
    """Return what the system is short of, if anything."""
    if _memory_is_short():
        return ResourceError(NO_MEMORY.format(_limit_text()))
    try:
        check_threads(encoder_threads())
    except ResourceError as error:
        return error
    return None


def _memory_is_short() -> bool:
    """Return True if the process has come near its limit, or gets no more memory now."""
    limit = _limit()
    if limit is not None and _peak_bytes() > limit - SPARE:
        return True
    try:
        mmap.mmap(-1, SPARE).close()
    except (OSError, MemoryError):
        return True
    return False


def _peak_bytes() -> int:
    """Return the most address space that the process has had; 0 where the system does not say."""
    with suppress(OSError):
        if match := re.search(r"VmPeak:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(match[1]) << 10
    return 0


def _limit() -> int | None:
    """Return the limit on the address space, bytes; None if there is none."""
    with suppress(ImportError):  # other systems than POSIX
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        return None if limit == resource.RLIM_INFINITY else limit
    return None


def _limit_text() -> str:
    limit = _limit()
    return "" if limit is None else f" than {limit // 10**6} MB"
