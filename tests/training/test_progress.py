"""What is shown of a run: a bar on a terminal and nowhere else, a line that says how long it will
take, curves that agree."""

import contextlib
import csv
import fcntl
import logging
import os
import pty
import struct
import sys
import termios

from warmstart.training.progress import Progress


def row(step, loss):
    return {"step": step, "loss": loss, "lr": 1e-3, "hours_seen": step / 10}


def steps(progress, numbers):
    for step in numbers:
        progress.step(2.0, 1e-3, 36.0)
        progress.row(row(step, 10.0 / step))


def table(folder):
    with open(folder / "train.csv", encoding="utf-8", newline="") as stream:
        return {int(found["step"]): float(found["loss"]) for found in csv.DictReader(stream)}


def written_to(reader):
    """All that a closed terminal was sent; it comes in pieces."""
    found = b""
    # Linux raises EIO once a terminal without writers is empty.
    with contextlib.suppress(OSError):
        while piece := os.read(reader, 10000):
            found += piece
    return found.decode()


def test_a_bar_is_drawn_where_stderr_is_a_terminal_and_nowhere_else(tmp_path, monkeypatch, capfd):
    shown = {}
    for terminal in (False, True):
        reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        with open(writer, "w", encoding="utf-8", buffering=1) as stream:
            if terminal:
                monkeypatch.setattr(sys, "stderr", stream)
            progress = Progress(tmp_path / str(terminal), 4)
            (tmp_path / str(terminal)).mkdir()
            progress.start(0)
            steps(progress, range(1, 5))
            progress.close()
        shown[terminal] = written_to(reader)
        os.close(reader)
    assert "4/4" in shown[True]
    assert "loss 2, lr 0.001, 36 h/h" in shown[True]
    assert "4/4" not in capfd.readouterr().err


def test_a_line_says_where_the_run_stands_and_how_long_it_will_take(tmp_path, caplog):
    progress = Progress(tmp_path, 100)
    with caplog.at_level(logging.INFO):
        # 25 steps took 30 minutes, so 75 will take 90; 50 hours in half an hour are 100 an hour.
        progress.say(25, 3.25, 1e-4, seen=45.0, heard=50.0, elapsed_s=1800, dev_wer=0.125)
    assert caplog.messages == [
        "step 25 of 100, loss 3.25, lr 0.0001, 45.00 audio hours seen, 100 audio hours per hour, "
        "dev WER 12.5 %, 1 h 30 min to go"
    ]


def test_after_a_resume_table_and_tensorboard_show_each_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Progress(tmp_path, 6)
    first.start(0)
    steps(first, range(1, 5))
    second = Progress(tmp_path, 6)
    second.rows = first.rows[:2]  # of a checkpoint at step 2; the process died after step 4
    second.start(2)
    steps(second, range(3, 7))
    second.close()
    expected = {step: 10.0 / step for step in range(1, 7)}
    assert table(tmp_path) == expected
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {event.step: round(event.value, 5) for event in events.Scalars("loss")} == {
        step: round(loss, 5) for step, loss in expected.items()
    }
    assert len(events.Scalars("loss")) == 6


def test_only_the_first_process_shows_anything(tmp_path, caplog):
    progress = Progress(tmp_path, 2, shown=False)
    progress.start(0)
    steps(progress, (1, 2))
    progress.say(2, 1.0, 1.0, 1.0, 1.0, 1.0)
    progress.close()
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []
    assert progress.last_row["step"] == 2
