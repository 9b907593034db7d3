"""Cuts of several languages in one order: what training sets of several languages, replay, their
tokenizers and pretraining share. Standard library only.

Languages lie between each other, not behind each other, and evenly by audio: after any cut each has
given the same share of its own, to within one cut. The order follows from the manifests alone, so
all arms and seeds of a budget hear the same cuts. A language's budgets are nested, and so are
mixtures of them. Given the weights, a mixture is even a prefix of the next, up to the cuts at its
end where one language runs out before another.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines
from warmstart.data.cut_lines import Seconds
from warmstart.run import files
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

Cut = dict[str, Any]
Hours = float

_MARK = "replay"
_UNDETERMINED = "und"  # ISO 639-2, for cuts whose manifest names no language


@dataclass(frozen=True)
class Part:
    """A language of a training set.

    Attributes:
        lang: its code.
        cuts: its budget or its pool, in budget order.
        weight: its audio in relation to that of the others, > 0; None where all parts are used up
            together, whatever they hold.
    """

    lang: str
    cuts: Path
    weight: float | None = None


@dataclass(frozen=True)
class Replay:
    """Cuts of another language among those of a training set, so that a model does not forget it.

    Attributes:
        lang: its code.
        pool: written by `pool.build`; the replayed cuts are a prefix of it.
        fraction: share of the replayed audio in all audio, above 0 and below 1.
    """

    lang: str
    pool: Path
    fraction: float

    @property
    def ratio(self) -> float:
        """Replayed audio for each second of other audio."""
        return self.fraction / (1 - self.fraction)


@dataclass
class Tally:
    """Cuts and seconds so far."""

    cuts: int = 0
    seconds: Seconds = 0.0

    def add(self, cut: Cut) -> None:
        """Count one cut."""
        self.cuts += 1
        self.seconds += cut_lines.duration_s(cut)

    @property
    def hours(self) -> Hours:
        """Hours so far."""
        return self.seconds / 3600


# ---- marks of single cuts


def replayed_language(cut: Any) -> str | None:
    """The language that a Lhotse cut replays; None for a cut of the budget."""
    part = cut.tracks[0].cut if hasattr(cut, "tracks") else cut
    return (part.custom or {}).get(_MARK)


def is_replayed(cut: Cut) -> bool:
    """Whether a line of a manifest is replayed."""
    return _MARK in cut_lines.custom(cut)


def language(cut: Cut) -> str | None:
    """The language that is spoken in a line of a manifest; None where it does not say."""
    return cut_lines.custom(cut).get(_MARK) or cut_lines.supervision(cut).get("language")


# ---- orders


def interleaved(parts: Sequence[Part], repeat: bool = False) -> Iterator[tuple[str, Cut]]:
    """(language, cut) of all parts, evenly by audio, those of each in their order.

    Args:
        repeat: a part that is used up begins anew, until each was used up once: so the whole of
            every part is there, in the proportions of the weights. Else its share ends, and the
            others go on.

    Raises:
        UserError: a manifest is damaged or empty, or weights are given for some parts only.
    """
    weights = _weights(parts)
    given = [0.0] * len(parts)
    streams = [cut_lines.read(part.cuts) for part in parts]
    going = list(range(len(parts)))
    unfinished = set(going)
    while going:
        # Of several that have given the same share, the first one.
        index = min(going, key=lambda index: given[index] / weights[index])
        cut = next(streams[index], None)
        if cut is not None:
            given[index] += cut_lines.duration_s(cut)
            yield parts[index].lang, cut
            continue
        if not given[index]:
            raise UserError(f"{parts[index].cuts}: no cuts of {parts[index].lang} in it")
        unfinished.discard(index)
        if not repeat:
            going.remove(index)
        elif unfinished:
            streams[index] = cut_lines.read(parts[index].cuts)
        else:
            return


def _weights(parts: Sequence[Part]) -> list[float]:
    given = [part.weight for part in parts if part.weight is not None]
    if len(given) == len(parts):
        return given
    if given:
        missing = next(part.lang for part in parts if part.weight is None)
        raise UserError(f"no weight for {missing}; give one for every language, or none")
    if len(parts) == 1:
        return [1.0]
    return [
        sum(map(cut_lines.duration_s, cut_lines.read(part.cuts))) or 1.0  # empty: said later
        for part in parts
    ]


def with_replay(
    cuts: Iterable[tuple[str, Cut]], replay: Replay | None
) -> Iterator[tuple[str, Cut, bool]]:
    """(language, cut, whether it is replayed): `cuts`, and between them the replayed ones from the
    beginning of their pool. A pool that is used up ends its share and not the others'."""
    others = cut_lines.read(replay.pool) if replay else iter(())
    own_s = other_s = 0.0
    for lang, cut in cuts:
        yield lang, cut, False
        own_s += cut_lines.duration_s(cut)
        while replay and other_s < replay.ratio * own_s:
            if (other := next(others, None)) is None:
                break
            other_s += cut_lines.duration_s(other)
            yield replay.lang, other, True


def texts(
    parts: Sequence[Part],
    replay: Replay | None = None,
    dirty: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[str]:
    """Texts of whole pools in the proportions of a training set, for its tokenizer.

    `dirty` has what stands in place of some: language -> id of a cut -> text.

    Between, not behind: SentencePiece reads the first million sentences, and some pools have more.
    A smaller pool than its weight asks for is repeated: what counts for a BPE is how often
    something is written.
    """
    _check(parts, replay)
    dirty = dirty or {}
    for lang, cut, _ in with_replay(interleaved(parts, repeat=len(parts) > 1), replay):
        said = cut_lines.supervision(cut)["text"]
        yield dirty[lang].get(cut["id"], said) if lang in dirty else said


# ---- manifests


def mix(
    parts: Sequence[Part], output: Path, report: Path, replay: Replay | None = None
) -> dict[str, Any]:
    """Write the cuts of a training set.

    Args:
        parts: its languages, each with its budget (written by `budgets.subset`).
        output: all cuts of the budgets, each once, and between them the replayed ones. A cut of one
            language keeps its id; where an earlier one of another language has it, the language's
            code is put before it. A replayed one has an id of its own and a mark.
        report: cuts and hours.

    Returns:
        The report: `cuts` and `hours` of all; `languages`, of each its cuts, hours and share of the
        audio that is not replayed; `replay`, its language, cuts, hours and fraction of all audio,
        or null; `renamed`, cuts whose id was taken.

    Raises:
        UserError: a language twice, a budget with cuts of another language, or a replayed pool with
            too little audio.
    """
    _check(parts, replay)
    heard = {part.lang: Tally() for part in parts}
    own, replayed = Tally(), Tally()
    names = _Names() if len(parts) > 1 else None
    with cut_lines.writing(output) as stream:
        for lang, cut, again in with_replay(interleaved(parts), replay):
            if again:
                cut["id"] = f"{_MARK}-{lang}-{cut['id']}"
                cut_lines.first_part(cut).setdefault("custom", {})[_MARK] = lang
                replayed.add(cut)
            else:
                if names is not None:
                    _require_language(cut, lang)
                    cut["id"] = names.of(cut["id"], lang)
                heard[lang].add(cut)
                own.add(cut)
            stream.write(cut_lines.line(cut))
        if replay and replayed.seconds < replay.ratio * own.seconds:
            most = replayed.seconds / (replayed.seconds + own.seconds)
            raise UserError(
                f"replay of {replay.lang}: its pool {replay.pool} has {replayed.hours:.4g} h, too "
                f"little for a share of {replay.fraction:g}; lower the fraction of replay (at most "
                f"{most:.3g} here) or give it more corpora"
            )
    seconds = own.seconds + replayed.seconds
    result = {
        "cuts": own.cuts + replayed.cuts,
        "hours": seconds / 3600,
        "languages": {
            lang: {
                "cuts": tally.cuts,
                "hours": tally.hours,
                "share": tally.seconds / own.seconds,
            }
            for lang, tally in heard.items()
        },
        "replay": {
            "lang": replay.lang,
            "cuts": replayed.cuts,
            "hours": replayed.hours,
            "fraction": replayed.seconds / seconds,
        }
        if replay
        else None,
        "renamed": names.renamed if names else 0,
    }
    files.write_json(report, result)
    said = [f"{lang} {tally.cuts} cuts, {tally.hours:.4g} h" for lang, tally in heard.items()]
    if replay:
        said.append(f"replayed {replay.lang} {replayed.cuts} cuts, {replayed.hours:.4g} h")
    log.info("%s", "; ".join(said))
    return result


def equal_hours(
    manifests: Mapping[str, Path],
    hours: Hours,
    seed: int,
    text: Mapping[str, Any],
    output: Path,
) -> dict[str, Hours]:
    """Write the cuts that an encoder is pretrained on: the same hours of every language, drawn in
    an order keyed by cut id, with normalised text.

    Not interleaved: one pretraining has one seed and one budget, and its sampler shuffles.

    Args:
        manifests: language -> manifest.
        hours: of all languages together.
        seed: key of the draw.
        text: language -> its block `text`; languages without one keep their text.
        output: the manifest to write.

    Returns:
        Hours per language.

    Raises:
        UserError: a language has too little audio.
    """
    from warmstart.data.text import normalize

    def key(cut: Cut) -> bytes:
        return hashlib.sha256(f"{seed} {cut['id']}".encode()).digest()

    share_s = hours * 3600 / len(manifests)
    heard = {lang: Tally() for lang in manifests}
    with cut_lines.writing(output) as stream:
        for lang, path in manifests.items():
            for cut in sorted(cut_lines.read(path), key=key):
                supervision = cut_lines.supervision(cut)
                if lang in text:
                    supervision["text"] = normalize(supervision["text"], text[lang])
                if not supervision["text"]:
                    continue
                stream.write(cut_lines.line(cut))
                heard[lang].add(cut)
                if heard[lang].seconds >= share_s:
                    break
            else:
                raise UserError(
                    f"{lang}: {share_s / 3600:.3f} h asked for pretraining, "
                    f"{heard[lang].hours:.3f} h in {path}; lower `hours`"
                )
    return {lang: tally.hours for lang, tally in heard.items()}


@dataclass(frozen=True)
class Totals:
    """What a manifest of training cuts holds.

    Attributes:
        cuts: of the budget, without the replayed ones.
        hours: of these cuts.
        replayed_hours: beside them.
        language_hours: `hours` by language.
        replayed_languages: of the replayed cuts.
    """

    cuts: int
    hours: Hours
    replayed_hours: Hours
    language_hours: dict[str, Hours]
    replayed_languages: frozenset[str] = frozenset()


def totals(path: str | Path) -> Totals:
    """Count a budget or a mixture.

    Raises:
        UserError: no cuts but replayed ones, or damaged.
    """
    own, replayed = Tally(), Tally()
    languages: dict[str, Tally] = {}
    others: set[str] = set()
    for cut in cut_lines.read(path):
        if is_replayed(cut):
            replayed.add(cut)
            others.add(language(cut) or _UNDETERMINED)
            continue
        own.add(cut)
        languages.setdefault(language(cut) or _UNDETERMINED, Tally()).add(cut)
    if not own.cuts:
        raise UserError(
            f"{path}: no cuts to train on; look at the .qc.json of the pool for what was dropped"
        )
    by_language = {lang: tally.hours for lang, tally in languages.items()}
    return Totals(own.cuts, own.hours, replayed.hours, by_language, frozenset(others))


def _check(parts: Sequence[Part], replay: Replay | None) -> None:
    langs = [part.lang for part in parts]
    if twice := sorted({lang for lang in langs if langs.count(lang) > 1}):
        raise UserError(f"{twice[0]} is given twice; give each language of a training set once")
    for part in parts:
        if part.weight is not None and not part.weight > 0:
            raise UserError(f"the weight of {part.lang} is {part.weight:g}; give one above 0")
    if replay and replay.lang in langs:
        raise UserError(
            f"replay of {replay.lang}, which is trained on; replay another language, or give it "
            "more weight"
        )


def _require_language(cut: Cut, lang: str) -> None:
    found = cut_lines.supervision(cut).setdefault("language", lang)
    if found != lang:
        raise UserError(
            f"cut {cut['id']} is of {found}, and was given as a part of {lang}; correct the parts"
        )


@dataclass
class _Names:
    """Ids of a mixture, each once. A hash stands for an id: 8 bytes of some 60."""

    renamed: int = 0
    _languages: dict[int, str] = field(default_factory=dict)  # of an id's hash

    def of(self, cut_id: str, lang: str) -> str:
        """The id that a cut has in the mixture."""
        name = cut_id
        if self._languages.get(_fingerprint(name), lang) != lang:
            name = f"{lang}-{cut_id}"
            self.renamed += 1
        if (key := _fingerprint(name)) in self._languages:
            raise UserError(
                f"cut {cut_id} of {lang} stands twice in its budget; make the budget again"
            )
        self._languages[key] = lang
        return name


def _fingerprint(cut_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(cut_id.encode(), digest_size=8).digest(), "big")
