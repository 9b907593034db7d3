"""A disk that is full or refuses is one line with file, room and remedy, whatever ran into it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from made.small_disk import small_disk  # noqa: F401 (a fixture)

from warmstart.run import disk, files

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")}
HEAD = """
import resource, sys, tarfile, tempfile
from pathlib import Path
from warmstart.run import cli, files
from warmstart.run.errors import UserError
"""


def run(body: str, *arguments: object, **environment: str) -> tuple[int, str]:
    """A program that does `body`: exit status and what it wrote to stderr."""
    program = f"{HEAD}\ndef main():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\ncli.run(main)", *map(str, arguments)],
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_file_beyond_the_limit_is_named_under_its_final_name(tmp_path):
    status, said = run(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "files.write_text(sys.argv[1], 'x' * 10000)",
        tmp_path / "pool.qc.json",
    )
    assert (status, said) == (
        1,
        f"error: {tmp_path}/pool.qc.json: no room to write it (File too large); raise the limit "
        "(`ulimit -f`), then the same command goes on\n",
    )
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_with_its_room(small_disk):
    folder = small_disk(1)
    status, said = run("files.write_text(sys.argv[1], 'x' * 2_000_000)", folder / "it.parquet")
    assert status == 1
    assert said.startswith(
        f"error: {folder}/it.parquet: no room to write it (No space left on device; "
    )
    assert f"MB free in {folder}); free or raise the space, then the same command" in said
    assert said.count("\n") == 1
    assert not list(folder.iterdir())


def test_a_full_folder_of_temporary_files_is_not_taken_for_a_damaged_donor(small_disk, tmp_path):
    """As reading a donor does it: its weights are unpacked, and the reader has one word for all
    that goes wrong."""
    folder = small_disk(1)
    status, said = run(
        "try:\n"
        "    with tempfile.TemporaryDirectory() as scratch:\n"
        "        (Path(scratch) / 'weights').write_bytes(b'0' * 3_000_000)\n"
        "except OSError as error:\n"
        "    raise UserError('init en.nemo: cannot be read; fetch it again') from error",
        TMPDIR=str(folder),
    )
    assert status == 1
    assert "fetch" not in said
    assert f"MB free in {folder}" in said
    assert "or set TMPDIR to a folder with room" in said
    assert said.count("\n") == 1


def test_a_full_disk_of_temporary_files_is_not_blamed_on_the_file_that_is_made(
    small_disk,
    tmp_path,
):
    folder = small_disk(1)
    status, said = run(
        "with files.atomic_path(sys.argv[1]), tempfile.NamedTemporaryFile() as scratch:\n"
        "    scratch.write(b'0' * 3_000_000)",
        tmp_path / "model.nemo",
        TMPDIR=str(folder),
    )
    assert status == 1
    assert f"no room to write a file (No space left on device; 1 MB free in {folder}" in said
    assert "model.nemo" not in said


def test_words_of_libraries_count_where_they_pass_no_number_on():
    with pytest.raises(OSError, match="No space left") as full:
        Path("/dev/full").write_text("x")
    said = RuntimeError("unexpected pos 64 vs 0")  # as torch does
    said.__context__ = full.value
    assert "no room" in (disk.no_room(said) or "")
    assert "no room" in (disk.no_room(RuntimeError("ORT: No space left on device")) or "")
    assert disk.no_room(RuntimeError("unexpected pos 64 vs 0")) is None
    assert disk.no_room(OSError(errno.ENOENT, "No such file")) is None


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "Permission denied; allow this user to read and write there"),
        (errno.EROFS, "Read-only file system; the file system is mounted read-only"),
        (errno.EIO, "Input/output error; the disk or its server fails"),
    ],
)
def test_a_disk_that_refuses_is_one_line(number, says):
    status, said = run(f"raise OSError({number}, __import__('os').strerror({number}), 'r/it.csv')")
    assert status == 1
    assert said.startswith(f"error: r/it.csv: {says}")
    assert said.count("\n") == 1


def test_what_is_no_fault_of_the_disk_keeps_its_traceback():
    status, said = run("{}['lang']")
    assert status == 1
    assert "Traceback" in said
    assert "KeyError: 'lang'" in said


def test_a_log_on_a_full_disk_is_said_once(small_disk):
    folder = small_disk(1)
    (folder / "fill").write_bytes(b"0" * (2**20 - 8192))
    status, said = run(
        "import argparse, logging\n"
        "logger = cli.start(argparse.Namespace(log=Path(sys.argv[1])))\n"
        "for _ in range(2000): logging.getLogger('x').info('a line of some length, again')",
        folder / "log.txt",
    )
    assert status == 0, said
    assert said.count("the log cannot be written") == 1
    assert "Traceback" not in said


def test_the_room_is_looked_for_where_there_is_no_folder_yet(tmp_path):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "a" / "b" / "c.json"))
    assert f"MB free in {tmp_path})" in (disk.no_room(error) or "")
    files.write_text(tmp_path / "a" / "b" / "c.json", "x")


def test_an_error_without_a_name_is_looked_for_where_the_program_writes(small_disk):
    folder = small_disk(1)
    status, said = run(
        "import argparse\n"
        "output = [('it/human', Path(sys.argv[1]))]\n"
        "cli.start(argparse.Namespace(log=None, output=output))\n"
        "with tempfile.TemporaryFile(dir=output[0][1].parent) as spool:\n"
        "    spool.write(b'0' * 3_000_000)",
        folder / "human.jsonl",
    )
    assert status == 1
    [line] = said.splitlines()
    assert f"no room to write a file (No space left on device; 1 MB free in {folder});" in line
    assert "TMPDIR" not in line
