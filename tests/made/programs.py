"""Programs as real processes without ten seconds of imports each: children of one server process
that has NeMo loaded.

Each child is a process of its own that runs the program's `main`, can be killed at any moment and
ends with an exit status.
"""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
_PRELOADED = [
    "nemo.collections.asr.models",
    "nemo.collections.common.data.lhotse",
    "warmstart.training.loop",
    "torchaudio",
]


class Program:
    """A running program.

    Args:
        name: of the script.
        arguments: its command line.
        output: stdout and stderr go there.
        environment: variables to add.
        prepare: called in the process before the program.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        output: Path,
        environment: dict[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ):
        self._output = output
        output.parent.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        # The server inherits the variables of its first use.
        os.environ.update(ENVIRONMENT)
        self._process = context.Process(
            target=_main, args=(name, arguments, output, environment or {}, prepare)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it wrote so far."""
        return (
            self._output.read_text(encoding="utf-8", errors="replace")
            if self._output.exists()
            else ""
        )

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, limit_s: float = 120) -> int:
        """Exit status at the end; a program that does not end is killed, and the test fails."""
        self._process.join(limit_s)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"still running after {limit_s} s:\n{self.said}")
        return self._process.exitcode

    def wait_for(self, what: Callable[[], object], limit_s: float = 120) -> None:
        """Until `what()` is true; the test fails when the program ends before."""
        end = time.monotonic() + limit_s
        while not what():
            assert self.status is None, f"status {self.status}:\n{self.said}"
            assert time.monotonic() < end, self.said
            time.sleep(0.005)


def memory_limit(more_mb: int) -> None:
    """Let this process grow by so much address space and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def file_size_limit(most_bytes: int) -> None:
    """No file of this process grows larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def _main(
    name: str,
    arguments: list[str],
    output: Path,
    environment: dict[str, str],
    prepare: Callable | None,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    with open(output, "ab", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.argv = [str(SCRIPTS / f"{name}.py"), *arguments]
    sys.path[:0] = [str(SCRIPTS)]
    import importlib

    program = importlib.import_module(name)
    from warmstart.run import cli

    if prepare is not None:
        prepare()
    cli.run(program.main)
