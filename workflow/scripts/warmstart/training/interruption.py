"""Signals of a scheduler: the step in hand is finished, a checkpoint is written, the exit status
says that work is left.

SIGTERM comes from `kill`, preemption and time limits, SIGUSR1 from `sbatch --signal=USR1@SECONDS`,
before the time is up.
"""

import signal
from typing import Any


class Interruption:
    """Remembers that a signal came; the loop asks after every step."""

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received = 0  # number of the signal, 0 = none
        self._former: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals, also from Lightning, whose own handlers would end the fit without a
        checkpoint."""
        for number in self.SIGNALS:
            former = signal.signal(number, self._note)
            self._former.setdefault(number, former)

    def restore(self) -> None:
        """Give the signals back to who had them."""
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former.clear()

    @staticmethod
    def status(number: int) -> int:
        """Exit status, what a shell reports for a process that the signal ended: 143 for SIGTERM,
        138 for SIGUSR1."""
        return 128 + number

    def _note(self, number: int, _frame: Any) -> None:
        self.received = number
