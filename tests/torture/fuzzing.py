"""What the attacks with random inputs share: mutated bytes, a limit on time, and Hypothesis without its test runner."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.torture.outcome import Outcome

HANG_SECONDS = 10
"""No input of an attack takes a second; this leaves room for a busy machine."""

_PIECES = (
    *(b"\0", b"\n", b"\r", b"\t", b'"', b"'", b",", b"{", b"}", b"[", b"]", b":", b"\\", b"<", b">", b"&", b"\xff"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\\ud800", b"\\u0000", b"\x1a", b"\x85"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 40, b"-0", b"null", b"true", b"[" * 300, b'{"a":' * 100, b" " * 500),
    *(b'"id"', b"<!--", b"</", b"<![CDATA[", b"```", b"::", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"\xe2\x80\xa8"),
)


class Hang(BaseException):
    """An input took too long; no Exception, so that no reader takes it for a fault of the input."""


@contextmanager
def time_limit(seconds: float = HANG_SECONDS) -> Iterator[None]:
    """Raise `Hang` in the block after so many seconds; in another thread than the main one there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def mutate(generator: random.Random, data: bytes) -> bytes:
    """Change bytes in one to six places: flip, overwrite, insert, delete, repeat, cut off."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        at = generator.randrange(len(changed) + 1)
        stop = min(len(changed), at + generator.choice((1, 1, 4, 16, 64)))
        kind = generator.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            changed[at:stop] = generator.randbytes(stop - at)
        elif kind == 2:
            changed[at:at] = generator.choice(_PIECES)
        elif kind == 3:
            del changed[at:stop]
        elif kind == 4:
            changed[at:at] = changed[at:stop] * generator.choice((1, 2, 50))
        elif generator.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def guarded(outcome: Outcome, what: str, attack: Callable[[], None]) -> None:
    """Try one input; anything that comes out is a broken promise."""
    outcome.tried += 1
    try:
        with time_limit():
            attack()
    except (Hang, Exception) as error:  # the promise is that nothing else than the documented errors comes out
        outcome.fail(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def try_many(
    outcome: Outcome,
    what: str,
    strategy: SearchStrategy[Any],
    check: Callable[[Any], None],
    *,
    examples: int,
    start: int,
) -> None:
    """Let Hypothesis try inputs; a failure is shrunk and noted with its input."""

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def attack(value: Any) -> None:
        outcome.tried += 1
        try:
            with time_limit():
                check(value)
        except Hang as error:
            raise AssertionError(f"hang: {error}") from None

    try:
        attack()
    except Exception as error:
        example = " ".join(" ".join(getattr(error, "__notes__", ())).split())
        outcome.fail(f"{what}, seed {start}: {type(error).__name__}: {str(error)[:200]}; {example[:400]}")
