"""README of a deployable bundle: what is in it, its rates, its licence chain, how to run it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from warmstart.evidence.keys import FULL
from warmstart.evidence.settings import Resampling
from warmstart.export import forms, worth
from warmstart.export.bundle import verify
from warmstart.run import files
from warmstart.run.errors import UserError

_ARCHITECTURE = "Cache-aware FastConformer transducer"
"""Of a bundle that does not say it: from before there were others."""

_UNRECOGNISED = "recognition"
"""Key of a row of `measure` beside the columns: why the model recognises nothing there."""
_README_COLUMNS = (
    *(
        "precision",
        "lang",
        "test_set",
        "utterances",
        "words",
        "wer_pct",
        "wer_low_pct",
        "wer_high_pct",
        "cer_pct",
    ),
    *("rtfx", "engine", "device_name"),
)


def measure(
    about: dict[str, Any],
    hypotheses: Sequence[str | Path],
    tests: Mapping[tuple[str, str], Path],
    texts: Mapping[str, dict[str, Any]],
    chosen: Resampling,
    unspaced: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Rates of a bundle's own run, from its hypotheses: what `score.py` counts, with the intervals
    of `aggregate.py`.

    Args:
        about: content of `bundle.json`.
        hypotheses: files of this run at this tier, with their headers.
        tests: (language, test set) -> manifest.
        texts: language -> what normalises it.
        chosen: how intervals are made.
        unspaced: languages in which each character counts as a word.

    Returns:
        A row for each file, of `_README_COLUMNS` and `recognition`; percent. An interval is NaN
        where the test set is one block.

    Raises:
        UserError: hypotheses of another model or tier, or what `scoring.Scorer` refuses.
    """
    if not hypotheses:
        return []
    import numpy

    from warmstart.evidence import intervals, recognition
    from warmstart.evidence.scoring import Scorer, read_header

    scorers = {
        lang: Scorer(
            lang,
            {"text": text},
            {name: path for (code, name), path in tests.items() if code == lang},
            None,
        )
        for lang, text in texts.items()
        if any(code == lang for code, _ in tests)
    }
    rows = []
    for path in map(Path, hypotheses):
        header = read_header(path)
        lang = header["lang"]
        if lang not in scorers:
            known = ", ".join("/".join(test) for test in tests)
            raise UserError(
                f"{path}: its language {lang!r} has no test set or no text; --tests has {known}"
            )
        scorer = scorers[lang]
        scorer.header(path)
        if (header["model_sha256"], header["tier"]) != (
            about["model_sha256"],
            about["tier"]["name"],
        ):
            raise UserError(
                f"{path}: decoded with another model or at another tier ({header['tier']}) than "
                "this bundle's; decode again,"
                " or make the bundle again"
            )
        counts = scorer.score(path, header, None)
        errors, words, wrong, characters = (
            numpy.sum([counts[name] for name in names], axis=0, dtype=float)
            for names in (
                ("substitutions", "deletions", "insertions"),
                ("ref_words",),
                ("char_substitutions", "char_deletions", "char_insertions"),
                ("ref_chars",),
            )
        )
        _, block = numpy.unique(counts["block"], return_inverse=True)
        by_block, words_of = numpy.bincount(block, errors)[None], numpy.bincount(block, words)
        random = intervals.generator(chosen.seed, "blocks", lang, header["test_set"])
        rates = intervals.resample_rates(by_block, words_of, chosen.replicates, random)
        (wer,) = intervals.cell_draws(by_block, words_of, [[0]], rates)
        wer = wer.scaled(100.0)
        total = characters.sum()
        cer = 100.0 * float(wrong.sum() / total) if total else float("nan")
        spoken = numpy.array(counts["ref_words"]) > 0
        useless = numpy.logical_or(counts["empty"], counts["looping"])[spoken]
        low, high = intervals.log_interval(wer, chosen.confidence, 100.0)
        rows.append(
            {
                **{
                    name: header.get(name)
                    for name in ("precision", "lang", "test_set", "rtfx", "engine", "device_name")
                },
                _UNRECOGNISED: recognition.reason(
                    wer.value,
                    100.0 * float(useless.mean()) if len(useless) else 0.0,
                    cer_pct=cer if lang in unspaced else None,
                ),
                "utterances": len(errors),
                "words": int(words.sum()),
                "wer_pct": wer.value,
                "wer_low_pct": low,
                "wer_high_pct": high,
                "cer_pct": cer,
            }
        )
    return rows


def unrecognised(about: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> str:
    """Why a bundle's model is said to recognise nothing, by its rates at the bundle's precision,
    else at full precision; empty where it recognises on one test set or more, or none was
    scored."""
    for precision in (about["precision"], FULL):
        if own := [row for row in measured if row["precision"] == precision]:
            if not all(row[_UNRECOGNISED] for row in own):
                return ""
            return "; ".join(
                f"{row['lang']} {row['test_set']}: {row[_UNRECOGNISED]}" for row in own
            )
    return ""


def _short(value: Any) -> str:
    """A table cell: numbers with a fraction to two decimals, `-` for what is not known."""
    if value is None or value != value:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else _in_a_table(str(value))


def _in_a_table(text: str) -> str:
    """Text that stays inside its cell."""
    return " ".join(text.replace("|", "\\|").split())


def _computes(settings: dict[str, Any]) -> str:
    """Weights and activations of a precision, in words."""
    if settings["scheme"] == "fp32":
        return "weights float32, activations float32"
    activations = (
        "int8 where they meet these weights (accuracy_level 4)"
        if settings["accuracy_level"]
        else "float32"
    )
    return (
        f"weights {settings['bits']} bit ({settings['scheme']}, block {settings['block_size']}), "
        f"activations {activations}"
    )


def _measured(about: dict[str, Any], rows: list[dict[str, Any]], confidence: float) -> list[str]:
    """Lines on the rates of this run."""
    own, tier = about["precision"], about["tier"]["name"]
    scored = list(dict.fromkeys(row["precision"] for row in rows))
    lines = []
    if own not in scored:
        others = (
            f" The rows below are of {', '.join(f'`{name}`' for name in scored)}, not of these "
            "weights."
            if scored
            else ""
        )
        lines += [
            f"**`{own}`, the precision of this bundle, was not scored at {tier} for this "
            f"run.**{others}",
            "",
        ]
    if rows:
        lines += [
            "| " + " | ".join(_README_COLUMNS) + " |",
            "|" + " --- |" * len(_README_COLUMNS),
            *(
                "| " + " | ".join(_short(row[column]) for column in _README_COLUMNS) + " |"
                for row in rows
            ),
            "",
            f"Of this run alone (seed {about['keys']['seed']}) at {tier}, decoded natively "
            f"({forms.of_bundle(about).native}) by the"
            " study; `full` is PyTorch with the weights as trained. Intervals "
            f"({100 * confidence:g} %) are of the test set's"
            " blocks: speakers, sentences or utterances; the randomness of training is not in "
            "them. `rtfx` is audio per compute"
            " time of whole batches, not of one stream.",
            "",
        ]
    return lines


def _licences(origin: dict[str, Any], arm: str) -> list[str]:
    """The chain, from the bundle to what is in it."""
    donor, example = origin.get("init") or {}, origin.get("example") or {}
    named = f"{donor.get('name') or arm} ({donor.get('source') or 'this study'})"
    return [
        f"- This bundle: {origin.get('licence') or 'not stated'}",
        f"- Encoder before fine-tuning: random weights, architecture of {named}"
        if donor.get("random")
        else f"- Encoder initialised from: {named}, "
        f"licence: {donor.get('licence') or 'not stated'}",
        *(
            f"- Training corpus `{name}`: {licence or 'licence not stated'}"
            for name, licence in (origin.get("corpora") or {}).items()
        ),
        *(
            [
                f"- `example.wav`, of the corpus `{example['corpus']}`: "
                f"{example.get('licence') or 'licence not stated'}"
            ]
            if example
            else []
        ),
    ]


def readme(
    about: dict[str, Any], measured: list[dict[str, Any]], origin: dict[str, Any], confidence: float
) -> str:
    """The bundle's README.

    Args:
        about: content of `bundle.json`.
        measured: rows of `measure`.
        origin: `licence` of the bundle; `init` with name, licence, source, and `random` where it
            gave its architecture only; `corpora`, name -> licence; `example`, corpus and licence.
            What is null is said to be not stated.
        confidence: of the intervals in `measured`.
    """
    keys, form = about["keys"], forms.of_bundle(about)
    met = about["agreement"]
    lines = [
        f"# {form.title}: {keys['training_set']}",
        "",
        *(
            [
                f"> **This model does not recognise speech ({why}).** The bundle was made all the "
                "same, because the study asked for it (`bundle.force`).",
                "",
            ]
            if (why := unrecognised(about, measured))
            else []
        ),
        f"{about.get('architecture', _ARCHITECTURE)}, arm `{keys['arm']}`, fine-tuned on "
        f"{keys['hours']} h of `{keys['training_set']}`"
        f" (seed {keys['seed']}). {form.heard(about)} Precision `{about['precision']}`: encoder "
        f"{_computes(about['settings'])};"
        f" {about['encoder_bytes'] / 1e6:.1f} MB.",
        "",
        "## Use",
        "",
        form.opened_with(about),
        "",
        "```python",
        *form.code(about),
        "```",
        "",
        f"`example.wav` ({about['example']['id']}), reference: {about['example']['reference']}",
        "",
        f"What this prints for it here: {about['example']['sherpa_onnx'] or '(nothing)'}",
        "",
        *form.remarks(about),
        "## Measured",
        "",
        *_measured(about, measured, confidence),
        f"{form.differences(about)} Against the native decode with the same weights, on "
        f"{met['utterances']} utterances "
        f"({met['native_words']} words):",
        "",
        f"| {form.compares} | identical utterances | differing words |",
        "| --- | --- | --- |",
        *(
            f"| {row['variant']} | {row['identical']} | {row['differing_words']} |"
            for row in met["variants"]
        ),
        "",
        f"Speed there: {met['rtfx']:.1f} times real time on one thread of {about['processor']}, "
        "one stream.",
        "",
        "## Licence",
        "",
        *_licences(origin, keys["arm"]),
        "",
        "## Files",
        "",
        *(f"- `{name}`: sha256 {entry['sha256']}" for name, entry in about["files"].items()),
        "",
    ]
    return "\n".join(lines)


def describe(
    folder: str | Path,
    hypotheses: Sequence[str | Path],
    tests: Mapping[tuple[str, str], Path],
    texts: Mapping[str, dict[str, Any]],
    chosen: Resampling,
    origin: dict[str, Any],
    *,
    force: bool = False,
    unspaced: Collection[str] = (),
) -> None:
    """Write the README of a bundle that is there.

    Args:
        folder: of the bundle.
        hypotheses, tests, texts, chosen: see `measure`; no hypotheses = nothing was scored.
        origin: see `readme`.
        force: also of a model that recognises nothing.
        unspaced: see `measure`.

    Raises:
        UserError: no such bundle, files of it that are missing or changed, a model that recognises
            nothing (`unrecognised`) without `force`, or what `measure` refuses.
    """
    folder = Path(folder)
    about = verify(folder)
    measured = measure(about, hypotheses, tests, texts, chosen, unspaced)
    if (why := unrecognised(about, measured)) and not force:
        raise UserError(
            f"{folder}: this model does not recognise speech ({why}), so the bundle gets no README "
            f"and is not for use; {worth.REMEDY}"
        )
    files.write_text(folder / "README.md", readme(about, measured, origin, chosen.confidence))
