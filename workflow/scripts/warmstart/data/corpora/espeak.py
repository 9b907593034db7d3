"""Speech made on this machine: spoken numbers by espeak-ng, many voices, any number of hours, the
same bytes every time.

Numbers are a small closed vocabulary that a model of half a million parameters learns from minutes
of speech, in every language that espeak-ng and num2words share. It is synthetic speech: it shows
that the workflow works, never how good a recogniser is.
"""

import csv
import ctypes
import hashlib
import logging
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from warmstart.data import espeak_ng
from warmstart.run import files
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
COLUMNS = ("path", "text", "speaker", "seconds")

# Share of the possible texts that belong to the test sets, and to dev; the rest is training text.
_TEST_SHARE, _DEV_SHARE = 0.15, 0.05
_SILENCE_S = 0.1
# Level of the noise floor: digital silence between words exists in no recording, and its log-mel is
# an outlier.
_NOISE_DBFS = -66.0

# Variants of espeak-ng's voices that sound like people; whispering, robots and croaks are left out,
# and so are voices with an echo, whose samples differ from run to run.
_VARIANTS = (
    *(
        "m1",
        "m3",
        "m4",
        "m5",
        "m6",
        "m7",
        "m8",
        "f1",
        "Alex",
        "Andrea",
        "Andy",
        "Annie",
        "Denis",
        "Gene",
        "Jacky",
        "Lee",
    ),
    *(
        "Mario",
        "Michael",
        "Mike",
        "Nguyen",
        "Reed",
        "adam",
        "anika",
        "antonio",
        "aunty",
        "belinda",
        "benjamin",
        "boris",
    ),
    *(
        "caleb",
        "david",
        "ed",
        "edward",
        "grandma",
        "grandpa",
        "gustave",
        "ian",
        "iven",
        "john",
        "kaukovalta",
        "linda",
    ),
    *(
        "marcelo",
        "max",
        "norbert",
        "paul",
        "pedro",
        "quincy",
        "rob",
        "robert",
        "sandro",
        "shelby",
        "steph",
        "travis",
    ),
    *("victor", "zac"),
)

# espeak-ng/speak_lib.h
_CHARS_UTF8, _POS_CHARACTER = 1, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """What stands for a speaker: a voice of espeak-ng with a pitch (0 to 99) and a rate (words per
    minute)."""

    name: str
    espeak_voice: str
    pitch: int
    pitch_range: int
    rate: int


def voices(
    espeak_voice: str, heard: int, unheard: int, seed: int
) -> tuple[list[Voice], list[Voice]]:
    """Voices for training and voices kept for a test set, in the same order for every language.

    The former are taken from the beginning of a shuffled list of espeak-ng's variants, the latter
    from its end: a corpus for pretraining with the same seed and more voices still leaves the
    latter unheard.

    Raises:
        UserError: more are wanted than there are variants.
    """
    if heard + unheard > len(_VARIANTS):
        raise UserError(
            f"{heard} voices and {unheard} new_voices; there are {len(_VARIANTS)} in all"
        )
    order = sorted(_VARIANTS, key=lambda variant: _key(seed, "variant", variant))
    made = []
    for index in [*range(heard), *range(len(order) - unheard, len(order))]:
        draw = random.Random(_key(seed, "voice", index))
        variant = order[index]
        made.append(
            Voice(
                name=f"{variant}-{index}",
                espeak_voice=f"{espeak_voice}+{variant}",
                pitch=draw.randint(25, 75),
                pitch_range=draw.randint(30, 70),
                rate=draw.randint(130, 185),
            )
        )
    return made[:heard], made[heard:]


def number_words(max_number: int, numbers: str) -> list[str]:
    """The numbers from 0 below `max_number`, spelt out.

    Raises:
        UserError: num2words has no such language, or fails in it.
    """
    from num2words import num2words

    try:
        return [num2words(number, lang=numbers) for number in range(max_number)]
    except Exception as error:  # converters raise what they happen to
        raise UserError(
            f"num2words cannot spell the numbers below {max_number} in {numbers!r} "
            f"({type(error).__name__}); set `numbers` to a language that it has, or lower "
            "`max_number`"
        ) from error


def split_of(text: str, seed: int) -> str:
    """Which split a text belongs to: train, dev or test. The same in every run, so no text is in
    two."""
    share = (
        int(_key(seed, "text", " ".join(text.lower().replace("-", " ").split()))[:8], 16)
        / 0x1_0000_0000
    )
    if share < _TEST_SHARE:
        return "test"
    return "dev" if share < _TEST_SHARE + _DEV_SHARE else "train"


def texts(
    split: str, words: list[str], numbers_per_text: tuple[int, int], key: str, seed: int
) -> Iterator[str]:
    """Texts of a split without end: `numbers_per_text` (inclusive bounds) numbers in a row, each
    equally likely.

    Test and dev texts do not repeat. Training texts may: the short ones are few.
    """
    draw = random.Random(key)
    seen = set()
    while True:
        text = " ".join(draw.choice(words) for _ in range(draw.randint(*numbers_per_text)))
        if split_of(text, seed) != split or text in seen:
            continue
        if split != "train":
            seen.add(text)
        yield text


def synthesize(directory: Path, lang: str, settings: dict[str, Any]) -> None:
    """Make the corpus of a language: `{split}/*.flac` (16 kHz mono) and `metadata-{split}.tsv`
    (path, text, speaker, seconds).

    Splits: `train` and `dev` (by hours), `test_same` (texts never heard, voices of the training
    set) and `test_new` (voices never heard either). A split that was made from these settings is
    left as it is; an interrupted one, or one of other settings, is made anew. The same settings
    give the same bytes.

    Args:
        directory: where the corpus goes.
        lang: ISO 639-1 code; the default of `espeak_voice` and `numbers`.
        settings: hours {train, dev}, utterances {same_voices, new_voices}, voices, new_voices,
            max_number, seed, numbers_per_text [min, max]; optional espeak_voice, numbers (language
            of num2words). What they are and their defaults: `corpora.synthetic.Reader.SCHEMA`.

    Raises:
        UserError: espeak-ng or num2words does not know the language.
    """
    directory = Path(directory)
    seed, hours, utterances = settings["seed"], settings["hours"], settings["utterances"]
    known, unheard = voices(
        settings.get("espeak_voice", lang), settings["voices"], settings["new_voices"], seed
    )
    words = number_words(settings["max_number"], settings.get("numbers", lang))
    per_text = tuple(settings["numbers_per_text"])

    # Each with its own key, so that no split changes when another becomes longer.
    plans = {
        "train": ("train", known, 3600 * hours["train"], None),
        "dev": ("dev", known, 3600 * hours["dev"], None),
        "test_same": ("test", known, None, utterances["same_voices"]),
        "test_new": ("test", unheard, None, utterances["new_voices"]),
    }
    note = directory / "made.json"
    made = files.read_if_whole(note, dict, "its splits are made again") or {}
    for split, (kind, speakers, limit_s, limit_count) in plans.items():
        settings_key = _key(seed, lang, split, words, per_text, speakers, limit_s, limit_count)
        table = directory / f"metadata-{split}.tsv"
        if table.exists() and made.get(split) == settings_key:
            continue
        # Before its audio goes: without a table a split is made anew, whenever this one is killed.
        table.unlink(missing_ok=True)
        arguments = (
            directory,
            split,
            kind,
            words,
            per_text,
            _key(seed, lang, split),
            seed,
            speakers,
            limit_s,
            limit_count,
        )
        # espeak-ng carries state from one utterance to the next: only a fresh process makes the
        # same bytes again.
        with ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn")
        ) as fresh:
            count, total_s = fresh.submit(_write_split, *arguments).result()
        made[split] = settings_key
        files.write_json(note, made)
        logger.info(
            "%s: %d utterances, %.4f h, %d voices",
            directory / split,
            count,
            total_s / 3600,
            len(speakers),
        )


def _write_split(
    directory: Path,
    split: str,
    kind: str,
    words: list[str],
    numbers_per_text: tuple[int, int],
    key: str,
    seed: int,
    speakers: list[Voice],
    limit_s: float | None,
    limit_count: int | None,
) -> tuple[int, float]:
    """Write one split, until `limit_s` seconds or `limit_count` utterances; returns how many there
    are of each."""
    import soundfile

    source, draw = texts(kind, words, numbers_per_text, key, seed), random.Random(key)
    working = directory / f".{split}.{os.getpid()}"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        rows, total_s = [], 0.0
        while (limit_s is not None and total_s < limit_s) or (
            limit_count is not None and len(rows) < limit_count
        ):
            # Round robin, so that a short split hears every voice as well.
            voice, text = speakers[len(rows) % len(speakers)], next(source)
            samples = speak(text, voice, draw)
            name = f"{len(rows):05d}.flac"
            soundfile.write(working / name, samples, SAMPLE_RATE, subtype="PCM_16")
            seconds = len(samples) / SAMPLE_RATE
            total_s += seconds
            rows.append((f"{split}/{name}", text, voice.name, f"{seconds:.3f}"))
        table = working / "table"
        with open(table, "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter="\t", lineterminator="\n").writerows([COLUMNS, *rows])
        final = directory / split
        shutil.rmtree(final, ignore_errors=True)
        # The table is moved last: where it is, its audio is complete.
        table.rename(directory / f".metadata-{split}.{os.getpid()}")
        working.rename(final)
        (directory / f".metadata-{split}.{os.getpid()}").rename(directory / f"metadata-{split}.tsv")
        return len(rows), total_s
    finally:
        shutil.rmtree(working, ignore_errors=True)


def speak(text: str, voice: Voice, draw: random.Random) -> np.ndarray:
    """Synthesize a text.

    Returns:
        float32 samples at 16 kHz, (T,), within ±1; 0.1 s of noise floor on both sides.

    Raises:
        UserError: espeak-ng has no such voice, or is silent.
    """
    import soxr

    library, rate, collected = _espeak()
    if library.espeak_SetVoiceByName(voice.espeak_voice.encode()) != 0:
        raise UserError(
            f"espeak-ng has no voice {voice.espeak_voice!r}; set `espeak_voice` to one of its "
            "languages"
        )
    for parameter, value in (
        (_RATE, voice.rate),
        (_PITCH, voice.pitch),
        (_RANGE, voice.pitch_range),
        (_VOLUME, 100),
    ):
        library.espeak_SetParameter(parameter, value, 0)
    collected.clear()
    # Breathy voices draw from espeak-ng's own generator, which it seeds with the time of day, some
    # others from the C library's.
    noise_seed = draw.getrandbits(31)
    library.espeak_ng_SetRandSeed(ctypes.c_long(noise_seed))
    ctypes.CDLL(None).srand(noise_seed)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    if not collected:
        raise UserError(
            f"espeak-ng said nothing for {text!r} with {voice.espeak_voice}; use another "
            "espeak_voice"
        )
    raw = np.frombuffer(b"".join(collected), np.int16).astype(np.float32) / 32768
    samples = soxr.resample(raw, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > 1e-3)
    if len(loud):
        samples = samples[loud[0] : loud[-1] + 1]
    pause = round(_SILENCE_S * SAMPLE_RATE)
    samples = np.pad(samples, pause) * (draw.uniform(0.4, 0.9) / max(np.abs(samples).max(), 1e-6))
    noise = np.random.default_rng(draw.getrandbits(32)).normal(
        0, 10 ** (_NOISE_DBFS / 20), len(samples)
    )
    return np.clip(samples + noise, -1, 1).astype(np.float32)


@cache
def _espeak() -> tuple[ctypes.CDLL, int, list[bytes]]:
    """The library, its sample rate, and the list that its callback fills."""
    library, rate = espeak_ng.library()
    collected: list[bytes] = []

    def receive(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            collected.append(ctypes.string_at(samples, count * 2))
        return 0

    callback: Callable = _CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    library.keep_callback = (
        callback  # ctypes frees it otherwise, and the library calls into nothing
    )
    return library, rate, collected


def _key(*parts: Any) -> str:
    return hashlib.sha256("\t".join(map(str, parts)).encode()).hexdigest()
