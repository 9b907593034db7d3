"""Small copies of real corpus releases: their layouts, formats and oddities, with the demo's human
recordings as audio."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from made.speech import encode, recordings, samples


def _tar(path: Path, folder: Path, mode: str = "w:gz") -> Path:
    """Archive everything below `folder`, names relative to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as stream:
        for item in sorted(folder.iterdir()):
            stream.add(item, item.name)
    return path


def fleurs(root: Path, code: str = "it_it") -> list[str]:
    """The hub's layout; three readers a sentence, an unbalanced quote, letters composed and not.
    Returns the test texts."""
    texts = ['Disse: "perche\u0301 no', "Perch\u00e9 s\u00ec."]
    rows = recordings()
    for offset, split in enumerate(("train", "dev", "test")):
        with tempfile.TemporaryDirectory() as scratch:
            lines = []
            for number in range(6):
                name = f"{1000 * offset + number}.wav"
                audio = samples(rows[6 * offset + number][0])
                encode(audio, Path(scratch) / split / name)
                text = texts[number // 3] if split == "test" else f"Frase {offset} {number // 3}"
                fields = [
                    100 * offset + number // 3,
                    name,
                    text,
                    text.lower(),
                    "d i s s e |",
                    len(audio),
                    "MALE",
                ]
                lines.append("\t".join(map(str, fields)))
            _tar(root / "data" / code / "audio" / f"{split}.tar.gz", Path(scratch))
        (root / "data" / code / f"{split}.tsv").write_text(
            "\n".join(lines) + "\n", encoding="utf-8"
        )
    return texts


def mls(root: Path, code: str = "italian", suffix: str = "opus") -> dict[str, str]:
    """A tarball and the md5 list of all. Returns id -> text of the training split."""
    name = f"mls_{code}" + ("_opus" if suffix == "opus" else "")
    made = {}
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch) / name
        for offset, split in enumerate(("train", "dev", "test")):
            lines = []
            for number in range(4):
                speaker, book = 100 * (offset + 1) + number // 2, 7
                key = f"{speaker}_{book}_{number:06d}"
                path, text, _ = recordings()[4 * offset + number]
                encode(
                    samples(path),
                    top / split / "audio" / str(speaker) / str(book) / f"{key}.{suffix}",
                )
                lines.append(f"{key}\t{text.lower()}")
                if split == "train":
                    made[key] = text.lower()
            (top / split / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (top / split / "segments.txt").write_text("", encoding="utf-8")
        (top / "train" / "limited_supervision" / "1hr").mkdir(parents=True)
        (top / "metainfo.txt").write_text(
            "SPEAKER | GENDER | PARTITION | MINUTES | BOOK ID | TITLE | CHAPTER\n", encoding="utf-8"
        )
        archive = _tar(root / f"{name}.tar.gz", Path(scratch))
    with open(root / "md5sum.txt", "a", encoding="utf-8") as stream:
        stream.write(f"{hashlib.md5(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    return made


VOXPOPULI_HEADER = (
    "session_id|id_|original_text|normed_text|speaker_id|split|gender|is_gold_transcript|accent"
    "|start_time|end_time|vad"
)


def voxpopuli(root: Path, code: str = "it", hours: float = 0.0) -> list[dict]:
    """Annotations and yearly tars; sessions are long recordings with many segments. `hours` of
    noise pad the first session.

    Returns one dict a segment: session, id, text, speaker, split, vad (list of (start, end) in s).
    """
    rows = recordings()
    made = []
    for year, session in (
        ("2009", "20091111-0900-PLENARY-3-it"),
        ("2010", "20100112-0900-PLENARY-1-it"),
    ):
        pieces, at = [], 0.0
        for number in range(8):
            path, text, seconds = rows[(number + 8 * (year == "2010")) % len(rows)]
            pieces += [np.full(8000, 1e-3, dtype="float32"), samples(path)]
            start = at + 0.5
            at = start + seconds
            # Two intervals with a pause between them, as in the release; a short segment is one.
            vad = (
                [(start, start + seconds * 0.4), (start + seconds * 0.5, at)]
                if number % 2
                else [(start, at)]
            )
            split = ("train", "train", "train", "train", "dev", "dev", "test", "test")[number]
            made.append(
                {
                    "session": session,
                    "id": f"{number}",
                    "text": text,
                    "speaker": f"{90000 + number // 2}",
                    "split": split,
                    "vad": vad,
                }
            )
        if year == "2009" and hours:
            pieces.append(
                (np.random.default_rng(1).random(int(hours * 3600 * 16000), dtype="float32") - 0.5)
                * 1e-3
            )
        with tempfile.TemporaryDirectory() as scratch:
            encode(
                np.concatenate(pieces),
                Path(scratch) / "original" / year / f"{session}_original.ogg",
            )
            _tar(root / "audios" / f"original_{year}.tar", Path(scratch), "w")
    lines = [VOXPOPULI_HEADER]
    for item in made[::-1]:  # the table is in no order
        quoted = '"' + item["text"].replace('"', '""') + '"'
        vad = repr([[start, end] for start, end in item["vad"]])
        fields = [
            item["session"],
            item["id"],
            quoted,
            item["text"].lower(),
            item["speaker"],
            item["split"],
            "male",
            "True",
            "None",
        ]
        lines.append("|".join([*fields, f"{item['vad'][0][0]}", f"{item['vad'][-1][1]}", vad]))
    lines.append("20110101-0900-PLENARY-9-it|1|x|x|1|excluded|male|True|None|0|1|[]")
    path = root / "annotations" / "asr" / f"asr_{code}.tsv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return made


def voxpopuli_day(
    root: Path, code: str = "it", hours: int = 10, segments: int = 1500
) -> list[tuple[float, float]]:
    """A session as long as a day in the Parliament, with a tone of its own in each segment. Returns
    (start_s, frequency_hz).

    The session is a sparse WAV under the publisher's name: libsndfile goes by the content, and ten
    hours of Vorbis take minutes to encode. One speaker in three is unknown, which the tables write
    as the word None.
    """
    session = "20090101-0900-PLENARY-it"
    path = root / "raw_audios" / "original" / "2009" / f"{session}_original.ogg"
    path.parent.mkdir(parents=True)
    samples = hours * 3600 * 16000
    with open(path, "wb") as stream:
        stream.write(struct.pack("<4sI4s4sI", b"RIFF", 36 + 2 * samples, b"WAVE", b"fmt ", 16))
        stream.write(struct.pack("<HHIIHH4sI", 1, 1, 16000, 32000, 2, 16, b"data", 2 * samples))
        stream.truncate(44 + 2 * samples)
    made, lines = [], [VOXPOPULI_HEADER]
    data = np.memmap(path, dtype="<i2", mode="r+", offset=44)
    time_s = np.arange(16000) / 16000
    for number in range(segments):
        start = number * (hours * 3600 - 10) / segments + 0.5
        frequency = 200.0 + number % 1000
        data[int(start * 16000) : int(start * 16000) + 16000] = (
            8000 * np.sin(2 * np.pi * frequency * time_s)
        ).astype("<i2")
        made.append((start, frequency))
        speaker = "None" if number % 3 == 0 else f"{90000 + number % 50}"
        vad = (
            [[start, start + 0.4], [start + 0.6, start + 1.0]]
            if number % 2
            else [[start, start + 1.0]]
        )
        fields = [
            session,
            number,
            f"Numero {number}",
            f"numero {number}",
            speaker,
            "train",
            "male",
            "True",
            "None",
        ]
        lines.append("|".join(map(str, [*fields, start, start + 1.0, vad])))
    table = root / "annotations" / "asr" / f"asr_{code}.tsv.gz"
    table.parent.mkdir(parents=True)
    table.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return made


CV_HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes"
    "\tage\tgender\taccents\tvariant\tlocale\tsegment"
)


def commonvoice(
    root: Path,
    code: str = "it",
    release: str = "cv-corpus-25.0-2026-03-09",
    header: str = CV_HEADER,
) -> Path:
    """A tarball and its statistics; mp3 at 48 and 32 kHz, unbalanced quotes, CRLF in one table.
    Returns the statistics file."""
    rows = recordings()
    clips = []
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch) / release / code
        for number in range(10):
            name = f"common_voice_{code}_{4000 + number}.mp3"
            rate = 48000 if number % 2 else 32000
            encode(samples(rows[number][0], rate), top / "clips" / name, rate)
            clips.append(
                (
                    hashlib.sha512(f"person {number // 2}".encode()).hexdigest(),
                    name,
                    rows[number][1],
                )
            )
        clips[0] = (
            *clips[0][:2],
            '"Ciao, disse',
        )  # an unbalanced quote: with quoting on, the next rows would vanish
        splits = {"train": [0, 1], "dev": [4, 5], "test": [6, 7], "other": [8], "invalidated": [9]}
        splits["validated"] = range(8)
        names = header.split("\t")
        for split, members in splits.items():
            lines = [header]
            for number in members:
                speaker, name, text = clips[number]
                row = {
                    "client_id": speaker,
                    "path": name,
                    "sentence_id": f"s{number}",
                    "sentence": text,
                    "locale": code,
                }
                lines.append("\t".join(row.get(column, "") for column in names))
            if split == "validated":
                lines.append("\t".join(["x"] * (len(names) + 1)))  # a stray tab
            end = "\r\n" if split == "other" else "\n"
            (top / f"{split}.tsv").write_bytes((end.join(lines) + end).encode())
        archive = _tar(root / f"{release}-{code}.tar.gz", Path(scratch))
    content = archive.read_bytes()
    statistics = root / "statistics.json"
    statistics.write_text(
        json.dumps({code: {"size": len(content), "checksum": hashlib.sha256(content).hexdigest()}})
    )
    return statistics


def granary(root: Path, lang: str = "it") -> Path:
    """Manifests of two parts over a folder of audio: files of unknown length, stretches of one
    video. Returns the folder."""
    rows = recordings()
    audio = root / "audio"
    lines = []
    for number in range(3):
        encode(samples(rows[number][0]), audio / lang / "voxpopuli" / f"{number}.ogg")
        entry = {
            "audio_filepath": f"{lang}/voxpopuli/{number}.ogg",
            "duration": "None",
            "text": rows[number][1],
            "lang": lang,
        }
        lines.append(json.dumps(entry))
    (audio / lang / "voxpopuli" / f"{lang}_asr.jsonl").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )
    video = np.concatenate([samples(rows[3][0]), samples(rows[4][0])])
    encode(video, audio / lang / "yodas" / "video.flac")
    lines, at = [], 0.0
    for number in (3, 4):
        _, text, seconds = rows[number]
        entry = {
            "audio_filepath": f"{lang}/yodas/video.flac",
            "offset": at,
            "duration": seconds,
            "text": text,
        }
        lines.append(json.dumps(entry, ensure_ascii=False))
        at += seconds
    (audio / lang / "yodas" / f"{lang}_asr_000.jsonl").write_text(
        "\n".join(lines) + "\n\n", encoding="utf-8"
    )
    return audio


def evil_tar(path: Path) -> Path:
    """A release that tries to write outside."""
    with tarfile.open(path, "w:gz") as stream:
        info = tarfile.TarInfo("../../evil")
        info.size = 4
        stream.addfile(info, io.BytesIO(b"evil"))
    return path
