"""Whether an audio file is as long as its container says, told from sizes and marks in the file.

libsndfile reads what is there of a file that was cut short and corrects the length that it states,
so that nothing looks wrong. The sizes that the writer noted remain in the file, and the last page
of an Ogg stream carries a mark.
"""

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

# What writers note who cannot go back to the head of a stream: 0 and all ones; the largest signed
# number (sox); 2,000,000,000 and 2^31 (arecord). Rounded down to whole frames, less their head.
_UNKNOWN = (2_000_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_UNKNOWN_WITHIN = 1 << 16
_UNKNOWN_LONG = 1 << 62
# An Ogg page has a head of 27 bytes, up to 255 segment sizes and 255 bytes in each (RFC 3533).
_PAGE_HEAD = 27
_LONGEST_PAGE = 27 + 255 + 255 * 255
_BEGINS, _ENDS = 2, 4

Bytes = int

CHECKED = frozenset(
    (
        *("AIFF", "AU", "CAF", "FLAC", "HTK", "MP3", "MPEG", "NIST", "OGG", "RF64", "SDS", "SVX"),
        *("W64", "WAV", "WAVEX"),
    )
)
"""Formats of libsndfile of which a file that was cut short is told from a whole one, here, by
`mpeg`, or by decoding."""


def missing_bytes(path: Path, file_format: str) -> tuple[Bytes, Bytes]:
    """Sample data that the container announces, and how much of it the file lacks.

    Args:
        file_format: as libsndfile calls it.

    Returns:
        (announced, missing), (0, 0) where the format notes no size, or the writer knew none.
    """
    find = _FINDERS.get(file_format)
    if find is None:
        return 0, 0
    with open(path, "rb") as stream:
        found = find(stream)
        end = stream.seek(0, os.SEEK_END)
    if found is None:
        return 0, 0
    start, size = found
    return size, max(0, start + size - end)


_HEADS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b".snd", b"NIST", b"caff")


# "fLaC" and the head of STREAMINFO, the first block, which has 34 bytes (RFC 9639, section 8).
_FLAC_HEAD = b"fLaC\0\0\0\x22"


def second_file(path: Path, file_format: str, whole: bool) -> int:
    """Byte where another file begins behind the sample data, as `cat a.au b.au` makes it, which
    libsndfile never reads; 0 where none does.

    Args:
        whole: look through all of a FLAC file too, which does not say where its frames end.
    """
    if file_format == "FLAC":
        return _second_flac(path) if whole else 0
    find = _FINDERS.get(file_format)
    with open(path, "rb") as stream:
        found = find(stream) if find else None
        if found is None:
            return 0
        place = sum(found)
        for byte in {place, place + place % 2}:
            stream.seek(byte)
            if stream.read(4) in _HEADS:
                return byte
    return 0


def _second_flac(path: Path) -> int:
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as all_:
        return max(0, all_.find(_FLAC_HEAD, all_.find(_FLAC_HEAD) + 1))


def _known(size: Bytes) -> bool:
    """Whether a size of 32 bits is one, and not what stands for an unknown one."""
    return size > 0 and not any(mark - _UNKNOWN_WITHIN < size <= mark for mark in _UNKNOWN)


_Found = tuple[Bytes, Bytes] | None  # where the sample data begin, and their announced size


def _riff(stream: IO[bytes]) -> _Found:
    """WAV, WAVEX and RF64: the chunk `data`."""
    head = stream.read(12)
    order = ">" if head[:4] == b"RIFX" else "<"
    long_size = 0
    while len(chunk := stream.read(8)) == 8:
        name, size = chunk[:4], struct.unpack(order + "I", chunk[4:])[0]
        if name == b"ds64":  # EBU Tech 3306: sizes of the file and of `data`, 64 bits each
            sizes = stream.read(16)
            long_size = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else 0
            stream.seek(size - 16 + size % 2, os.SEEK_CUR)
            continue
        if name == b"data":
            if head[:4] == b"RF64" and size == 0xFFFFFFFF:
                return (stream.tell(), long_size) if 0 < long_size < _UNKNOWN_LONG else None
            return (stream.tell(), size) if _known(size) else None
        stream.seek(size + size % 2, os.SEEK_CUR)
    return None


def _aiff(stream: IO[bytes]) -> _Found:
    """AIFF and AIFC: `SSND`, eight bytes of which are no samples. IFF 8SVX: `BODY`."""
    stream.seek(12)
    while len(chunk := stream.read(8)) == 8:
        name, size = chunk[:4], struct.unpack(">I", chunk[4:])[0]
        if name in (b"SSND", b"BODY"):
            inside = 8 if name == b"SSND" else 0
            return (stream.tell() + inside, size - inside) if _known(size) else None
        stream.seek(size + size % 2, os.SEEK_CUR)
    return None


def _w64(stream: IO[bytes]) -> _Found:
    """Sony Wave64: chunks with GUIDs, sizes of 64 bits that count their own head of 24 bytes."""
    stream.seek(40)
    while len(chunk := stream.read(24)) == 24:
        size = struct.unpack("<Q", chunk[16:])[0]
        if chunk[:4] == b"data":
            return (stream.tell(), size - 24) if 24 < size < _UNKNOWN_LONG else None
        if not 24 <= size < _UNKNOWN_LONG:
            return None
        stream.seek((size - 24 + 7) // 8 * 8, os.SEEK_CUR)
    return None


def _au(stream: IO[bytes]) -> _Found:
    """Sun AU, of either byte order: offset and size of the data stand in the head."""
    head = stream.read(12)
    if len(head) < 12:
        return None
    start, size = struct.unpack(("<" if head[:4] == b"dns." else ">") + "II", head[4:])
    return (start, size) if _known(size) else None


def _caf(stream: IO[bytes]) -> _Found:
    """Core Audio: the chunk `data`, four bytes of which count edits; size -1 is unknown."""
    stream.seek(8)
    while len(chunk := stream.read(12)) == 12:
        name, size = chunk[:4], struct.unpack(">q", chunk[4:])[0]
        if name == b"data":
            return (stream.tell() + 4, size - 4) if size > 4 else None
        if size < 0:
            return None
        stream.seek(size, os.SEEK_CUR)
    return None


def _nist(stream: IO[bytes]) -> _Found:
    """NIST SPHERE: lines of text, `sample_count -i 144960`, in a head of the size that its second
    line states."""
    head = stream.read(8192)
    try:
        lines = head.decode("latin-1").splitlines()
        start = int(lines[1])
        fields = {parts[0]: parts[2] for line in lines[2:] if len(parts := line.split()) == 3}
        count = int(fields["sample_count"]) * int(fields.get("channel_count", 1))
        return start, count * int(fields["sample_n_bytes"])
    except (IndexError, KeyError, ValueError):
        return None


_FINDERS: dict[str, Callable[[IO[bytes]], _Found]] = {
    "WAV": _riff,
    "WAVEX": _riff,
    "RF64": _riff,
    "AIFF": _aiff,
    "SVX": _aiff,
    "W64": _w64,
    "AU": _au,
    "CAF": _caf,
    "NIST": _nist,
}


def ogg_fault(path: Path, whole: bool) -> str:
    """Why an Ogg file is not all of its stream, or an empty string.

    Args:
        whole: look at every page, which alone finds a hole; else at the last one.

    Returns:
        The last page is cut or has no mark of the stream's end (RFC 3533, section 6: header type
        4), pages are missing between others, or a second stream follows (section 4, chaining), of
        which libsndfile reads nothing.
    """
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0 if whole else max(0, size - 2 * _LONGEST_PAGE))
        if not whole:
            place = _first_page(stream)
            if place is None:
                return "no page of it at its end; it was damaged or cut short"
            stream.seek(place)
        return _walk(stream, size, whole)


def _first_page(stream: IO[bytes]) -> int | None:
    """The first page behind the place of `stream` that another one or the file's end follows."""
    begin = stream.tell()
    content = stream.read()
    place = content.find(b"OggS")
    while place >= 0:
        length = _page_length(content[place:])
        if length is None or content[place + length :][:4] in (b"OggS", b""):
            return begin + place
        place = content.find(b"OggS", place + 1)
    return None


def _page_length(head: bytes) -> int | None:
    """Bytes of the page that begins so; None where its head is not all there."""
    if len(head) < _PAGE_HEAD or len(head) < _PAGE_HEAD + head[26]:
        return None
    return _PAGE_HEAD + head[26] + sum(head[_PAGE_HEAD : _PAGE_HEAD + head[26]])


def _walk(stream: IO[bytes], size: int, whole: bool) -> str:
    """`ogg_fault` of the pages from here on."""
    numbers: dict[int, int] = {}  # serial number of a stream -> number of its last page
    place, kind, ended = stream.tell(), 0, False
    while place < size:
        stream.seek(place)
        head = stream.read(_PAGE_HEAD + 255)
        if head[:4] != b"OggS":
            if kind & _ENDS:
                return ""  # tags that some programs put behind the stream
            return f"no page at byte {place}; a part of it is missing or damaged"
        length = _page_length(head)
        if length is None or place + length > size:
            return "its last page is not all there; it was cut short"
        kind, (serial, number) = head[5], struct.unpack("<II", head[14:22])
        if kind & _BEGINS and ended:
            return f"a second stream begins at byte {place}, which would not be read; convert it"
        ended = ended or bool(kind & _ENDS)
        if whole and not kind & _BEGINS and number != numbers.get(serial, number - 1) + 1:
            return f"pages are missing before byte {place}"
        numbers[serial] = number
        place += length
    if not kind & _ENDS:
        return (
            "its last page has no mark of the end: it was cut short, or recorded off a stream; if "
            "nothing is missing, convert it"
        )
    return ""
