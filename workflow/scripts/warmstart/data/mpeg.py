"""How long an MP3 is, counted from its frames.

libsndfile takes the length from the encoder's note and estimates it from the first frame's bit rate
where there is none; it never reads past that estimate. Of a file whose bit rate varies, most can be
missing then without an error.
"""

from pathlib import Path

_NOTES = (b"Xing", b"Info", b"VBRI")
# kbit/s of Layer III by index, for MPEG 1 and for MPEG 2 and 2.5; 0 = free, not used in practice
# (ISO 11172-3, 13818-3).
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)
# Version in the header -> its bit rates, samples of a frame, divisor of the sample rates.
_VERSIONS = {3: (_KBITS_1, 1152, 1), 2: (_KBITS_2, 576, 2), 0: (_KBITS_2, 576, 4)}


# What stands behind the bytes that a note counts is a tag, or a frame that some encoders forget;
# more is another file, as `cat a.mp3 b.mp3` makes it.
_SECOND_BYTES = 8192


def second_stream(path: Path) -> int:
    """Byte where another stream begins behind the one whose length the encoder noted, which
    libsndfile never reads; 0 where none does.

    The note (`Xing` or `Info` in the first frame) has flags, 1 for frames and 2 for bytes, and then
    these as 32-bit numbers, most significant byte first.
    """
    with open(path, "rb") as stream:
        tag = _tag(stream.read(10))
        stream.seek(tag)
        head = stream.read(4096)
        place = next((at for note in _NOTES[:2] if (at := head.find(note)) > 0), 0)
        flags = int.from_bytes(head[place + 4 : place + 8], "big")
        if not place or not flags & 2:
            return 0
        at = place + 8 + 4 * (flags & 1)
        end = tag + int.from_bytes(head[at : at + 4], "big")
        stream.seek(end)
        behind = stream.read(_SECOND_BYTES)
        frame = behind[:1] == b"\xff" and behind[1:2] >= b"\xe0"
        return end if len(behind) == _SECOND_BYTES and (frame or behind[:3] == b"ID3") else 0


def _tag(head: bytes) -> int:
    """Bytes of an ID3 tag, with titles and pictures, that stands before the first frame."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
    )


def samples(path: Path) -> int | None:
    """Samples of a file without a note of its length, the encoder's padding included.

    None where the length is noted, or where no frame of Layer III is found.
    """
    with open(path, "rb") as stream:
        tag = _tag(stream.read(10))
        stream.seek(tag)
        content = stream.read(4096)
        if any(note in content for note in _NOTES):
            return None
        content += stream.read()
    place, count = 0, 0
    while 0 <= place <= len(content) - 4:
        _, second, third = content[place : place + 3]
        version, layer = second >> 3 & 3, second >> 1 & 3
        index, rate_index = third >> 4, third >> 2 & 3
        if (
            content[place] != 0xFF
            or second < 0xE0
            or version == 1
            or layer != 1
            or index in (0, 15)
            or rate_index == 3
        ):
            place = content.find(b"\xff", place + 1)
            continue
        kbits, of_frame, divisor = _VERSIONS[version]
        place += of_frame * 125 * kbits[index] // (_RATES[rate_index] // divisor) + (third >> 1 & 1)
        count += of_frame * (place <= len(content))
    return count or None
