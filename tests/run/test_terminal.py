"""What the terminal says of failed jobs: the message and the rule, once, and all of them at the
end."""

import logging

import pytest

from warmstart.run import terminal

FAILED = """10:31:00 INFO settings: seed = 1
10:31:02 INFO warmstart.train: 12 cuts
10:31:05 ERROR warmstart: init en.nemo: digest 12 expected; fetch it again
"""
TRACEBACK = """10:31:02 INFO warmstart.train: 12 cuts
10:31:05 CRITICAL warmstart: uncaught exception
Traceback (most recent call last):
  File "train.py", line 3, in <module>
ValueError: unforeseen
"""
KILLED = """10:31:02 INFO warmstart.train: 12 cuts
10:31:05 INFO warmstart.train: step 7 of 90
"""
SEVERAL = """10:31:05 ERROR warmstart: three recordings cannot be read:
  a.wav
  b.wav
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FAILED, "init en.nemo: digest 12 expected; fetch it again"),
        (TRACEBACK, "ValueError: unforeseen"),
        (KILLED, "ended without a message; its last line is: step 7 of 90"),
        (SEVERAL, "three recordings cannot be read:\n  a.wav\n  b.wav"),
        ("python: lost\n", "ended without a message; its last line is: python: lost"),
        ("\n", ""),
    ],
)
def test_the_last_words_of_a_log(tmp_path, text, said):
    log = tmp_path / "train.log"
    log.write_text(text)
    assert terminal.last_words(log) == said


def test_no_log_no_words(tmp_path):
    assert terminal.last_words(tmp_path / "none.log") == ""


@pytest.fixture
def shown(tmp_path):
    """Snakemake's logger as it is for a terminal, and the lines that it shows."""
    lines: list[str] = []

    class Terminal(logging.StreamHandler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger = logging.Logger("snakemake")
    logger.addHandler(Terminal())
    log = tmp_path / "train.log"
    log.write_text(FAILED)
    return logger, lines, str(log)


def fail(logger, log, jobid=3, output="results/runs/it/en/0.02h/seed1/model.nemo"):
    logger.error(
        "RuleException:\nCalledProcessError in file x, line 3:\nCommand 'set -euo pipefail; ...'",
        extra={"event": "error"},
    )
    extra = {"event": "job_error", "rule_name": "train", "output": [output], "log": [log]}
    logger.error("Error in rule train, jobid: 3", extra={**extra, "jobid": jobid, "aux": {}})


def test_a_failed_job_is_named_without_its_command(shown):
    logger, lines, log = shown
    terminal.install(logger)
    fail(logger, log)
    logger.error("At least one job did not complete successfully.", extra={"event": "error"})
    assert lines == [
        "Error in rule train: results/runs/it/en/0.02h/seed1/model.nemo\n    log: " + log
    ]


def test_where_jobs_run_elsewhere_the_message_is_shown_too(shown):
    logger, lines, log = shown
    terminal.install(logger, remote=lambda: True)
    fail(logger, log)
    assert "\n    init en.nemo: digest 12 expected; fetch it again\n" in lines[0]


def test_the_list_at_the_end_has_jobs_that_failed_for_good(shown):
    logger, _, log = shown
    reporter = terminal.install(logger)
    fail(logger, log, jobid=1, output="a")
    fail(logger, log, jobid=2, output="b")
    fail(logger, log, jobid=2, output="b")  # its second try
    fail(logger, log, jobid=3, output="c")
    logger.info("Finished", extra={"event": "job_finished", "job_id": 3})  # in its second try
    message = "    init en.nemo: digest 12 expected; fetch it again"
    assert terminal.summary(reporter.failures).splitlines() == [
        *("2 jobs failed:", "  train: a", message, f"    log: {log}"),
        *("  train: b", message, f"    log: {log}"),
    ]


def test_a_message_of_ours_loses_what_snakemake_puts_around_it(shown):
    logger, lines, _ = shown
    terminal.install(logger)
    text = (
        "InputFunctionException in rule build_pool in file pools.smk, line 10:\nError:\n"
        "  UserError: language 'xx' has no block; blocks: it, fr\nWildcards:\n  lang=xx\n"
        "Traceback:\n  File a, line 12, in <lambda>"
    )
    logger.error(text, extra={"event": "error"})
    assert lines == ["language 'xx' has no block; blocks: it, fr"]


def test_what_a_rule_file_raises_is_its_message_alone(shown):
    logger, lines, _ = shown
    terminal.install(logger)
    text = (
        'WorkflowError in file "/here/common.smk", line 360:\nresults/ belong to another study\n'
        '  File "/here/common.smk", line 360, in __onstart'
    )
    logger.error(text, extra={"event": "error"})
    assert lines == ["results/ belong to another study"]


def test_a_dry_run_ends_with_the_notes_and_without_bad_advice(shown):
    logger, lines, _ = shown
    terminal.install(logger, notes=lambda: ["an upper bound"])
    logger.info("Some jobs were triggered by provenance information, ... wipe its metadata ...")
    logger.info("This was a dry-run (flag -n).")
    assert lines == ["This was a dry-run (flag -n).", "an upper bound"]


def test_a_second_reporter_takes_the_place_of_the_first(shown):
    logger, lines, log = shown
    terminal.install(logger)
    terminal.install(logger)
    fail(logger, log)
    assert len(lines) == 1
