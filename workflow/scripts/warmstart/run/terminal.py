"""What Snakemake's terminal says of failed jobs and of dry runs: the message and the rule, not the
command.

Snakemake (9.27) shows of a failed job its command, of some hundred letters, twice, and nothing at
all where `quiet: rules` is set; after days of `keep-going` it names no rule. Its logger is that of
the standard library, whose records say what they are about (`event`). A handler here collects them
and a filter keeps the long ones from the terminal. Snakemake's log file has all of them.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RECORD = re.compile(r"^\d\d:\d\d:\d\d ([A-Z]+) (\S+): (.*)$")
_ENDED = "At least one job did not complete successfully."
_ADVICE = "Some jobs were triggered by provenance information"
_DRY_RUN = "This was a dry-run"
_IDLE = "Nothing to be done"
# Of a message that an input function raised, with its class, wildcards and traceback around it.
_OURS = re.compile(
    r"^ *UserError: (.*?)$(?=\nWildcards:|\nTraceback:|\Z)", re.MULTILINE | re.DOTALL
)
# The same of what a rule file raised itself.
_RAISED = re.compile(
    r'\AWorkflowError in file "[^"]*", line \d+:\n(.*?)(?:\n  File "[^\n]*)*\s*\Z', re.DOTALL
)


@dataclass(frozen=True)
class Failure:
    """A failed job.

    Attributes:
        rule: its name.
        job: its message, or the first file that it makes.
        logs: files that may say why.
        said: what else is known of it, for instance by the scheduler.
    """

    rule: str
    job: str
    logs: tuple[str, ...]
    said: str = ""

    @property
    def title(self) -> str:
        """Rule and job, in one line."""
        return f"{self.rule}: {self.job}" if self.job else self.rule

    @property
    def message(self) -> str:
        """Why it failed, as its log has it."""
        found = next((said for log in self.logs if (said := last_words(log))), "")
        return found or self.said or "it ended without a message"

    @property
    def where(self) -> str:
        """Where more is to be read."""
        there = [log for log in self.logs if Path(log).exists()]
        return f"log: {', '.join(there)}" if there else "no log was written"


def last_words(log: str | Path) -> str:
    """The message with which a program ended: its last error, the last line of a traceback, or its
    last line at all with a remark that there is no message.

    Returns:
        One line or several; nothing for a log that is empty or not there.
    """
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    lines = [line for line in lines if line.strip()]
    if not lines:
        return ""
    records = [place for place, line in enumerate(lines) if _RECORD.match(line)]
    errors = [place for place in records if _level(lines[place]) in ("ERROR", "CRITICAL")]
    if not errors or (records[-1] != errors[-1] and _level(lines[records[-1]]) == "INFO"):
        return f"ended without a message; its last line is: {_text(lines[-1])}"
    message = [_text(lines[errors[-1]]), *lines[errors[-1] + 1 :]]
    # A traceback's last line says what happened.
    return message[-1] if _level(lines[errors[-1]]) == "CRITICAL" else "\n".join(message)


def summary(failures: Iterable[Failure]) -> str:
    """The list at the end of a run: each failed job with its message and its log."""
    failures = list(failures)
    jobs = "1 job" if len(failures) == 1 else f"{len(failures)} jobs"
    lines = [f"{jobs} failed:"]
    for failure in failures:
        lines += [f"  {failure.title}", *_indented(failure.message), f"    {failure.where}"]
    return "\n".join(lines)


class Reporter(logging.Handler):
    """Collects failed jobs, says so when one fails, and adds notes to a dry run.

    Args:
        logger: Snakemake's.
        notes: lines to be added at the end of a dry run.
        idle: called where nothing is to be done, for which Snakemake has no hook.
        remote: whether jobs run elsewhere, so that what they say is not seen here.
    """

    def __init__(
        self,
        logger: logging.Logger,
        notes: Callable[[], Iterable[str]] = tuple,
        idle: Callable[[], None] = lambda: None,
        remote: Callable[[], bool] = lambda: False,
    ):
        super().__init__()
        self._logger, self._notes, self._idle, self._remote = logger, notes, idle, remote
        self._failures: dict[Any, Failure] = {}

    @property
    def failures(self) -> list[Failure]:
        """Jobs that failed and did not succeed in a later try."""
        return list(self._failures.values())

    def emit(self, record: logging.LogRecord) -> None:
        """See the class."""
        event = event_of(record)
        if event == "job_error":
            failure = _failure(record)
            self._failures[getattr(record, "jobid", len(self._failures))] = failure
            lines = [f"Error in rule {failure.title}"]
            lines += _indented(failure.message) if self._remote() else []
            self._logger.error("\n".join([*lines, f"    {failure.where}"]))
        elif event == "job_finished":
            self._failures.pop(getattr(record, "job_id", None), None)
        elif event is None and str(record.msg).startswith(_DRY_RUN):
            for note in self._notes():
                self._logger.warning(note)
        elif event is None and str(record.msg).startswith(_IDLE):
            self._idle()


def for_terminal(record: logging.LogRecord) -> bool:
    """Filter of what is shown: not the commands of failed jobs, which `Reporter` names instead; nor
    the advice to remove records of finished jobs, after which edits of settings would go unseen."""
    event, text = event_of(record), str(record.msg)
    if event == "job_error" or (event == "error" and "CalledProcessError" in text):
        return False
    if event == "error" and (ours := _OURS.search(text) or _RAISED.match(text)):
        record.msg = ours[1].strip()
    return not (_ENDED in text or text.startswith(_ADVICE))


def install(logger: logging.Logger, **calls: Callable[[], Any]) -> Reporter:
    """Put a reporter and the filter into Snakemake's logger.

    Args:
        logger: Snakemake's.
        calls: see `Reporter`.
    """
    for handler in list(logger.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.addFilter(for_terminal)
        if isinstance(handler, Reporter):
            logger.removeHandler(handler)
    reporter = Reporter(logger, **calls)
    logger.addHandler(reporter)
    return reporter


def event_of(record: logging.LogRecord) -> str | None:
    """What a record of Snakemake is about, e.g. `job_error`; None for plain lines."""
    event = getattr(record, "event", None)
    return None if event is None else str(getattr(event, "value", event))


def _failure(record: logging.LogRecord) -> Failure:
    own = record.__dict__
    made = [str(path) for path in own.get("output") or ()]
    aux = own.get("aux") or {}
    said = "; ".join(f"{name}: {value}" for name, value in aux.items() if value)
    return Failure(
        rule=str(own.get("rule_name")),
        job=str(own.get("rule_msg") or (made[0] if made else "")),
        logs=tuple(map(str, own.get("log") or ())),
        said=said,
    )


def _level(line: str) -> str | None:
    found = _RECORD.match(line)
    return found[1] if found else None


def _text(line: str) -> str:
    found = _RECORD.match(line)
    return found[3] if found else line.strip()


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]
