"""SIGTERM and SIGINT, taken between two steps: the first saves and stops, the second kills."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAID = b"\nstopping once what is under way is saved; a second signal stops at once\n"


class Interrupted(Exception):  # noqa: N818  (nothing went wrong)
    """Work that stopped at a signal; the same command goes on with what `saved` names, if any."""

    def __init__(self, saved: str | None = None) -> None:
        """Say where the state lies; None where there is nowhere to keep it."""
        self.saved = saved
        where = f"saved {saved}" if saved else "nothing is saved without --out"
        then = "go on" if saved else "start again"
        super().__init__(f"interrupted; {where}; run the same command to {then}")


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a signal has arrived; restores the handlers after.

    After the first signal the old handlers are back, so a second one acts at once.
    """
    arrived = False
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        del number, frame
        arrived = True
        restore()
        os.write(2, SAID)  # whatever the interrupted code was writing, this does not wait for it

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: arrived
    finally:
        restore()
