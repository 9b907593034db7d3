"""A run that makes no step ends with what every process was doing, so that a restart goes on from
the last checkpoint.

A loader that waits for a dead disk, or a rank that waits for another, would hold its GPUs until
the time limit of the job.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

logger = logging.getLogger(__name__)

STALLED = 75
"""Exit status: EX_TEMPFAIL of sysexits.h, a failure that is worth another try."""

_ASKS = signal.SIGUSR2  # of loader processes and other ranks: their stacks, please
_ANSWER_S = 2.0  # for those to write them


def stacks_path(run_dir: Path, rank: int) -> Path:
    """Where the stacks of a rank and of its loader processes are written."""
    return run_dir / f"stalled.rank{rank}.txt"


class Watchdog:
    """Ends the process once nobody has called `alive` for some minutes.

    A context: it watches inside. Loader processes that are forked inside write their stacks too.

    Args:
        run_dir: gets `stalled.rank{N}.txt` when it comes to that.
        stall_minutes: without a sign of life until the end; 0: it watches nothing.
        rank: of the process.
        end: what ends the process, with the exit status; finally blocks are left out, because one
            of them may be what hangs.
    """

    def __init__(
        self,
        run_dir: Path,
        stall_minutes: float,
        rank: int = 0,
        end: Callable[[int], None] = os._exit,
    ):
        self._path, self._limit_s, self._rank = (
            stacks_path(run_dir, rank),
            stall_minutes * 60,
            rank,
        )
        self._end = end
        self._last, self._what = time.monotonic(), "the start"
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: IO[str] | None = None

    def alive(self, what: str) -> None:
        """Something is done.

        Args:
            what: for the message, such as `step 12`.
        """
        self._last, self._what = time.monotonic(), what

    def __enter__(self) -> "Watchdog":
        if not self._limit_s:
            return self
        self.alive("the start")
        # Opened now, because a full disk or too many files may be why nothing moves; removed at the
        # end where it is empty.
        self._file = open(self._path, "a", encoding="utf-8")
        faulthandler.register(_ASKS, file=self._file, all_threads=True)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is None or self._file is None:
            return
        self._thread.join()
        faulthandler.unregister(_ASKS)
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            if not self._path.stat().st_size:
                self._path.unlink()

    def _watch(self) -> None:
        while not self._over.wait(min(30.0, self._limit_s / 10)):
            if time.monotonic() - self._last >= self._limit_s:
                self._give_up()
                return

    def _give_up(self) -> None:
        """Write down what everybody does, and end."""
        assert self._file is not None
        with contextlib.suppress(OSError):
            print(
                f"rank {self._rank}, process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}: "
                f"nothing done since {self._what}, for {self._limit_s / 60:g} minutes",
                file=self._file,
                flush=True,
            )
            faulthandler.dump_traceback(file=self._file, all_threads=True)
            for process in _descendants():
                os.kill(process, _ASKS)
            time.sleep(_ANSWER_S)
        logger.error(
            "nothing done since %s, for %g minutes (training.stall_minutes): stopped. What each "
            "process was doing stands in %s. Look for a disk or a GPU that does not answer; the "
            "same command goes on from the last checkpoint",
            *(self._what, self._limit_s / 60, self._path),
        )
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.stderr.flush()
        self._end(STALLED)


def _descendants() -> Iterator[int]:
    """Process numbers of what this process has started and what answers, loaders among them: of
    others the signal would be the end."""
    started = {os.getpid()}
    # A child has a higher number than its parent, but where the numbers began anew.
    for process in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError, KeyError):  # ended meanwhile
            facts = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
            )
            if int(facts["PPid"]) in started:
                started.add(process)
                # Bit n - 1 of the mask is signal n: the process has a handler for it.
                if int(facts["SigCgt"], 16) >> (_ASKS - 1) & 1:
                    yield process
