"""One logging set-up for every program: everything to the rule's log, our own lines to the terminal
as well."""

import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from warmstart.run.secrets import redact

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


# They log every address that they ask, those with a signature too.
_WEB = ("httpx", "httpx2", "httpcore", "urllib3", "requests", "huggingface_hub", "hf_xet")


class _WithoutSecrets(logging.Formatter):
    """Takes credentials out of a record as it is written, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logging(log_path: str | Path | None) -> None:
    """Send all records and uncaught exceptions to `log_path`, and those of `warmstart` to stderr
    too.

    Libraries (NeMo, Lightning, Lhotse) are verbose: their records go to the file only, from INFO
    up, those of web clients from warnings up. Credentials are in none (`secrets.redact`).
    """
    rank = process_rank()
    if log_path is not None and rank:
        log_path = Path(log_path).with_suffix(f".rank{rank}.log")
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    # Called twice in one process (tests do), it replaces what it set up before.
    for handler in [
        handler for handler in root.handlers if getattr(handler, "of_warmstart", False)
    ]:
        root.removeHandler(handler)
        handler.close()
    formatter = _WithoutSecrets(_FORMAT, datefmt="%H:%M:%S")
    if log_path is not None:
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        file_handler = _LogFile(log_path, mode="w", encoding="utf-8")
        file_handler.setFormatter(formatter)
        file_handler.of_warmstart = True
        root.addHandler(file_handler)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(formatter)
    terminal.addFilter(
        lambda record: (
            record.levelno >= logging.ERROR or (record.name.startswith("warmstart") and not rank)
        )
    )
    terminal.of_warmstart = True
    root.addHandler(terminal)
    for name in _WEB:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = log_uncaught


class _LogFile(logging.FileHandler):
    """A log that does not fill the terminal with tracebacks when its disk is full."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._said:
            self._said = True
            print(f"{self.baseFilename}: the log cannot be written ({error})", file=sys.stderr)


def process_rank() -> int:
    """Number of this process among those of one training run: 0 writes, the others compute and log
    into files of their own."""
    # LOCAL_RANK is set for processes that Lightning starts beside the user's; they inherit Slurm's
    # variables from that one.
    for name in ("LOCAL_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def route_nemo_logs() -> None:
    """Take NeMo's and Lightning's own handlers away: their records reach the root logger only. Call
    after importing NeMo."""
    for name in ("nemo_logger", "lightning", "lightning.pytorch", "lightning.fabric"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def log_uncaught(kind: Any, value: Any, trace: Any) -> None:
    """What Python does with an exception that nobody caught; credentials are taken out."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
    elif logging.getLogger().handlers:
        logging.getLogger("warmstart").critical("uncaught exception", exc_info=(kind, value, trace))
    else:
        print(redact("".join(traceback.format_exception(kind, value, trace))), file=sys.stderr)


class MinuteTicker:
    """Say `due()` once per `interval_s`: long loops write one line a minute to their log."""

    def __init__(self, interval_s: float = 60.0):
        self._interval_s = interval_s
        self._last = time.monotonic()

    def due(self) -> bool:
        """True at most once per interval, never before the first interval is over."""
        now = time.monotonic()
        if now - self._last < self._interval_s:
            return False
        self._last = now
        return True
