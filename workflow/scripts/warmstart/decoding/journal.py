"""What a long decode has finished, beside the file it will become: a killed job goes on where it
stopped.

Lines of JSON: `{"fingerprint": ...}` first, then of every batch its utterances (`{"index": ...,
"line": ...}`) and a record that closes the batch. Only closed batches count; what a kill has cut
off behind the last of them is dropped.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class Journal:
    """Finished batches of one hypothesis file; only offsets are held in memory.

    Args:
        path: made when there is none; begun anew when its fingerprint is another.
        fingerprint: of everything that the hypotheses depend on.
    """

    def __init__(self, path: str | Path, fingerprint: str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._offsets: dict[int, int] = {}
        self._records: list[Any] = []
        self._stream = open(self.path, "r+b" if self.path.exists() else "w+b")  # noqa: SIM115 (closed by `close`)
        end = self._load(fingerprint)
        self._stream.truncate(end)
        self._stream.seek(end)
        if not end:
            self._write([{"fingerprint": fingerprint}])

    def _load(self, fingerprint: str) -> int:
        """Read closed batches; the offset behind the last of them, 0 where nothing can be used."""
        end, offset, open_batch = 0, 0, {}
        for line in self._stream:
            try:
                value = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(value, dict):
                break
            if offset == 0 and value != {"fingerprint": fingerprint}:
                break
            if "index" in value:
                open_batch[value["index"]] = offset
            elif "closed" in value:
                self._offsets |= open_batch
                self._records.append(value["closed"])
                open_batch = {}
            offset += len(line)
            if not open_batch:
                end = offset
        return end

    def _write(self, values: Sequence[Any]) -> None:
        self._stream.write(
            b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
        )
        self._stream.flush()  # the kernel has it now: a killed process loses nothing

    @property
    def finished(self) -> set[int]:
        """Indices of the utterances in closed batches."""
        return set(self._offsets)

    @property
    def records(self) -> list[Any]:
        """What the batches were closed with, in order."""
        return self._records

    def close_batch(self, lines: dict[int, Any], record: Any) -> None:
        """Add the lines of a batch by index of the utterance, and what is to be known of the
        batch."""
        offset = self._stream.seek(0, os.SEEK_END)  # a reader may have left it anywhere
        packed = [
            json.dumps({"index": index, "line": line}, ensure_ascii=False).encode() + b"\n"
            for index, line in lines.items()
        ]
        for index, line in zip(lines, packed, strict=True):
            self._offsets[index] = offset
            offset += len(line)
        self._stream.write(b"".join(packed))
        self._write([{"closed": record}])
        self._records.append(record)

    def line(self, index: int) -> Any:
        """That of one utterance.

        Raises:
            KeyError: it is in no closed batch.
        """
        self._stream.seek(self._offsets[index])
        return json.loads(self._stream.readline())["line"]

    def lines(self) -> Iterator[Any]:
        """All lines by rising index, read from the disk one by one."""
        for index in sorted(self._offsets):
            yield self.line(index)

    def close(self) -> None:
        """Leave the file for the next process."""
        self._stream.close()

    def remove(self) -> None:
        """The hypotheses have their final name: nothing is left to remember."""
        self._stream.close()
        self.path.unlink(missing_ok=True)
