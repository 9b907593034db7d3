"""A deployable recogniser: streaming encoder, predictor, joint and tokens in the form that sherpa-onnx loads as it is.

sherpa-onnx wants an encoder that takes windows of one size (`quantization.export(native=False)`), NeMo's names, positional
inputs and metadata. It makes its own features: frames half a hop late, edges reflected, another floor of the logarithm. 165 ms
of zeros in front line up frames and chunks, the export undoes the floor; how often tokens then agree with native decoding is
measured here and written into the bundle, not assumed.

Source of the metadata: k2-fsa/sherpa-onnx, scripts/nemo/fast-conformer-hybrid-transducer-ctc.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from warmstart import files, quantization, streaming
from warmstart.errors import UserError

_PACKAGES = ("sherpa-onnx", "onnxruntime", "nemo-toolkit", "torch")
_README_COLUMNS = (
    *("precision", "test_set", "utterances", "words", "wer_pct", "wer_low_pct", "wer_high_pct", "cer_pct"),
    *("rtfx", "engine", "device_name"),
)
FILES = ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "example.wav", "README.md")

# What the README is made of, in `bundle.json`.
_ABOUT: dict[str, set[str]] = {
    "keys": {"lang", "init", "hours", "seed"},
    "tier": {"name", "left", "right", "offline"},
    "settings": {"scheme", "bits", "block_size", "accuracy_level"},
    "versions": {"sherpa-onnx"},
    "example": {"id", "reference", "sherpa_onnx"},
    "agreement": {"utterances", "native_words", "variants", "rtfx"},
    "files": set(FILES[:5]),
    **{key: set() for key in ("precision", "model_sha256", "processor", "encoder_bytes", "feature_dim")},
}

# Zeros in front, in seconds. Its frames are centred half a hop late: 5 ms line them up. The first window is two encoder frames
# longer than the first chunk, and the export cuts them off: 160 ms more, and nothing of the audio is lost.
FRONT_S = 0.005 + 0.16
_FRONTS = {"as it is": 0.0, "5 ms of zeros in front": 0.005, "165 ms of zeros in front": FRONT_S}

_LOG = logging.getLogger("warmstart.bundle")


def _runs(process: int) -> bool:
    """Whether a process of this machine is alive, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes the place of `path` when the block ends well, and goes when it raises.

    What killed processes left of the same `path` goes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        owner = re.fullmatch(r"(\d+)(\.former)?", left.name.removeprefix(f".{path.name}."))
        if owner and (int(owner[1]) == os.getpid() or not _runs(int(owner[1]))):
            shutil.rmtree(left)
    temporary, former = (path.with_name(f".{path.name}.{os.getpid()}{suffix}") for suffix in ("", ".former"))
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(former)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def sherpa_metadata(model, tier: streaming.Tier) -> dict[str, str]:
    """What sherpa-onnx reads of the encoder; window and shift in feature frames."""
    encoder = model.encoder
    shape = streaming.ChunkShape.of(encoder)
    channel, convolution = quantization.cache_shapes(encoder)
    prediction = model.cfg.decoder.prednet
    values = {
        "model_type": "EncDecRNNTBPEModel",
        "version": "1",
        "vocab_size": model.joint.num_classes_with_blank - 1,
        "feat_dim": encoder._feat_in,
        "window_size": shape.again + shape.later,
        "chunk_shift": shape.later,
        "normalize_type": "",
        "subsampling_factor": encoder.subsampling_factor,
        "pred_rnn_layers": prediction.pred_rnn_layers,
        "pred_hidden": prediction.pred_hidden,
        **{f"cache_last_channel_dim{axis}": size for axis, size in enumerate(channel, 1)},
        **{f"cache_last_time_dim{axis}": size for axis, size in enumerate(convolution, 1)},
        "warmstart_context": json.dumps(tier.context),
    }
    return {key: str(value) for key, value in values.items()}


def write_tokens(model, path: Path) -> None:
    """`piece id` a line, the blank last."""
    pieces = model.tokenizer.ids_to_tokens(list(range(model.joint.num_classes_with_blank - 1)))
    lines = [f"{piece} {index}" for index, piece in enumerate([*pieces, "<blk>"])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _log_guard(model) -> float:
    """What the model's features add before the logarithm; 0 where they clamp, as sherpa-onnx does."""
    import torch

    featurizer = model.preprocessor.featurizer
    return float(featurizer.log_zero_guard_value_fn(torch.zeros(1))) if featurizer.log_zero_guard_type == "add" else 0.0


def write_networks(model, tier: streaming.Tier, scheme: quantization.Scheme, folder: Path) -> None:
    """Write encoder, decoder, joiner and tokens."""
    original = quantization.export(model.encoder, tier, native=False, log_guard=_log_guard(model))
    encoder = quantization.quantize(original, scheme)
    quantization.set_metadata(encoder, sherpa_metadata(model, tier))
    quantization.save(encoder, folder / "encoder.onnx")
    model.decoder.export(str(folder / "decoder.onnx"))
    model.joint.export(str(folder / "joiner.onnx"))
    write_tokens(model, folder / "tokens.txt")


def open_recognizer(folder: str | Path, threads: int = 1):
    """Load a bundle in sherpa-onnx.

    Raises:
        UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
    """
    folder = Path(folder)
    if missing := [name for name in FILES[:4] if not (folder / name).is_file()]:
        raise UserError(f"{folder}: the bundle lacks {', '.join(missing)}; make it again with build_bundle.py")
    try:
        import sherpa_onnx
    except ImportError as error:
        raise UserError(f"sherpa-onnx cannot be imported ({error}); install sherpa-onnx 2.0.1") from error
    import onnxruntime

    # sherpa-onnx ends the whole process on a graph that it cannot load.
    for name in FILES[:3]:
        try:
            session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes of its own
            raise UserError(
                f"{folder / name}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); make the bundle again"
            ) from error
        if name == "encoder.onnx":
            features = session.get_inputs()[0].shape[1]
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"),
        encoder=str(folder / "encoder.onnx"),
        decoder=str(folder / "decoder.onnx"),
        joiner=str(folder / "joiner.onnx"),
        num_threads=threads,
        feature_dim=features,
        decoding_method="greedy_search",
    )


def tail_s(tier: streaming.Tier) -> float:
    """Zeros behind the audio, in seconds: a chunk and two frames of 10 ms, so that its last window is decoded.

    Without them the last words stay in sherpa-onnx's buffer; with more, a model may hear words in the silence.
    """
    return round((tier.right + 1) * 0.08 + 0.02, 2)


def open_stream(recognizer, samples, sample_rate: int, tail_s: float, front_s: float = FRONT_S):
    """A stream of sherpa-onnx that has been given a whole waveform (samples,) of any rate with zeros around it."""
    import numpy

    stream = recognizer.create_stream()
    front, tail = (numpy.zeros(round(seconds * sample_rate), dtype=numpy.float32) for seconds in (front_s, tail_s))
    stream.accept_waveform(sample_rate, numpy.concatenate([front, samples, tail]))
    stream.input_finished()
    return stream


def recognize(recognizer, samples, sample_rate: int, tail_s: float, front_s: float = FRONT_S) -> list[str]:
    """Tokens that sherpa-onnx finds in a waveform, see `open_stream`."""
    stream = open_stream(recognizer, samples, sample_rate, tail_s, front_s)
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
    return list(recognizer.tokens(stream))


def agreement(folder: Path, decoder: streaming.Decoder, waveforms: Sequence) -> dict[str, Any]:
    """How often sherpa-onnx gives the text of the native decode with the same weights, and how far apart they are in words."""
    import jiwer

    sample_rate = int(decoder.model.cfg.preprocessor.sample_rate)
    recognizer = open_recognizer(folder)
    native = [decoder.text(found).split() for found in decoder.decode(waveforms)]
    result: dict[str, Any] = {"utterances": len(waveforms), "native_words": sum(map(len, native))}
    result["variants"] = []
    started = time.perf_counter()
    for name, front_s in _FRONTS.items():
        tokens = [recognize(recognizer, samples, sample_rate, tail_s(decoder.tier), front_s) for samples in waveforms]
        # SentencePiece marks word starts with U+2581; sherpa-onnx gives a space in its place.
        result["sherpa_onnx_s"] = time.perf_counter() - started
        texts = ["".join(row).replace("\u2581", " ").split() for row in tokens]
        # A word where the native decode has none is an error too.
        counts = jiwer.process_words([" ".join(words) for words in native], [" ".join(words) for words in texts])
        errors = counts.substitutions + counts.deletions + counts.insertions
        identical = sum(left == right for left, right in zip(native, texts, strict=True))
        result["variants"].append({"variant": name, "identical": identical, "differing_words": errors})
        started = time.perf_counter()
    # Of the last variant, the one to be used: features, encoder, search, all of sherpa-onnx on one thread.
    result["rtfx"] = round(sum(map(len, waveforms)) / sample_rate / result.pop("sherpa_onnx_s"), 2)
    return result


def measure(
    about: dict[str, Any],
    hypotheses: Sequence[str | Path],
    tests: dict[str, Path],
    settings: dict[str, Any],
    chosen: dict[str, Any],
) -> list[dict[str, Any]]:
    """Rates of a bundle's own run, from its hypotheses: what `score.py` counts, with the intervals of `aggregate.py`.

    Args:
        about: content of `bundle.json`.
        hypotheses: files of this run at this tier, with their headers.
        tests: test set -> manifest.
        settings: what `scoring.Scorer` takes: `text`, `test_set_text`.
        chosen: replicates, confidence and seed of the intervals.

    Returns:
        A row for each file, of `_README_COLUMNS`; percent. An interval is NaN where the test set is one block.

    Raises:
        UserError: hypotheses of another model or tier, or what `scoring.Scorer` refuses.
    """
    if not hypotheses:
        return []
    import numpy

    from warmstart import scoring, statistics

    lang, rows = about["keys"]["lang"], []
    scorer = scoring.Scorer(lang, settings, tests, None)
    for path in map(Path, hypotheses):
        header = scorer.header(path)
        if (header["model_sha256"], header["tier"]) != (about["model_sha256"], about["tier"]["name"]):
            raise UserError(
                f"{path}: decoded with another model or at another tier ({header['tier']}) than this bundle's; decode again,"
                " or make the bundle again"
            )
        counts = scorer.score(path, header, None)
        errors, words, wrong, characters = (
            sum(numpy.asarray(counts[name], dtype=float) for name in names)
            for names in (
                ("substitutions", "deletions", "insertions"),
                ("ref_words",),
                ("char_substitutions", "char_deletions", "char_insertions"),
                ("ref_chars",),
            )
        )
        _, block = numpy.unique(counts["block"], return_inverse=True)
        draws = statistics.cell_draws(
            numpy.bincount(block, errors)[None],
            numpy.bincount(block, words),
            [[0]],
            chosen["replicates"],
            statistics.generator(chosen["seed"], "blocks", lang, header["test_set"]),
            lambda _: statistics.generator(0),  # for several seeds; this is one
        )
        wer = draws[0].scaled(100.0)
        low, high = wer.interval(chosen["confidence"])
        rows.append(
            {
                **{name: header.get(name) for name in ("precision", "test_set", "rtfx", "engine", "device_name")},
                "utterances": len(errors),
                "words": int(words.sum()),
                "wer_pct": wer.value,
                "wer_low_pct": low,
                "wer_high_pct": high,
                "cer_pct": 100.0 * float(wrong.sum() / characters.sum()) if characters.sum() else float("nan"),
            }
        )
    return rows


def _short(value: Any) -> str:
    """A table cell: numbers with a fraction to two decimals, `-` for what is not known."""
    if value is None or value != value:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _computes(settings: dict[str, Any]) -> str:
    """Weights and activations of a precision, in words."""
    if settings["scheme"] == "fp32":
        return "weights float32, activations float32"
    activations = "int8 where they meet these weights (accuracy_level 4)" if settings["accuracy_level"] else "float32"
    return f"weights {settings['bits']} bit ({settings['scheme']}, block {settings['block_size']}), activations {activations}"


def _measured(about: dict[str, Any], rows: list[dict[str, Any]], confidence: float) -> list[str]:
    """Lines on the rates of this run."""
    own, tier = about["precision"], about["tier"]["name"]
    scored = list(dict.fromkeys(row["precision"] for row in rows))
    lines = []
    if own not in scored:
        others = f" The rows below are of {', '.join(f'`{name}`' for name in scored)}, not of these weights." if scored else ""
        lines += [f"**`{own}`, the precision of this bundle, was not scored at {tier} for this run.**{others}", ""]
    if rows:
        lines += [
            "| " + " | ".join(_README_COLUMNS) + " |",
            "|" + " --- |" * len(_README_COLUMNS),
            *("| " + " | ".join(_short(row[column]) for column in _README_COLUMNS) + " |" for row in rows),
            "",
            f"Of this run alone (seed {about['keys']['seed']}) at {tier}, decoded natively (NeMo's features and chunks) by the"
            f" study; `full` is PyTorch with the weights as trained. Intervals ({100 * confidence:g} %) are of the test set's"
            " blocks: speakers, sentences or utterances; the randomness of training is not in them. `rtfx` is audio per compute"
            " time of whole batches, not of one stream.",
            "",
        ]
    return lines


def _licences(origin: dict[str, Any], init: str) -> list[str]:
    """The chain, from the bundle to what is in it."""
    donor, example = origin.get("init") or {}, origin.get("example") or {}
    named = f"{donor.get('name') or init} ({donor.get('source') or 'this study'})"
    return [
        f"- This bundle: {origin.get('licence') or 'not stated'}",
        f"- Encoder before fine-tuning: random weights, architecture of {named}"
        if donor.get("random")
        else f"- Encoder initialised from: {named}, licence: {donor.get('licence') or 'not stated'}",
        *(
            f"- Training corpus `{name}`: {licence or 'licence not stated'}"
            for name, licence in (origin.get("corpora") or {}).items()
        ),
        *(
            [f"- `example.wav`, of the corpus `{example['corpus']}`: {example.get('licence') or 'licence not stated'}"]
            if example
            else []
        ),
    ]


def readme(about: dict[str, Any], measured: list[dict[str, Any]], origin: dict[str, Any], confidence: float) -> str:
    """The bundle's README.

    Args:
        about: content of `bundle.json`.
        measured: rows of `measure`.
        origin: `licence` of the bundle; `init` with name, licence, source, and `random` where it gave its architecture only;
            `corpora`, name -> licence; `example`, corpus and licence. What is null is said to be not stated.
        confidence: of the intervals in `measured`.
    """
    keys, tier = about["keys"], about["tier"]
    seconds = tail_s(streaming.Tier(**tier))
    met = about["agreement"]
    lines = [
        f"# Streaming speech recogniser: {keys['lang']}",
        "",
        f"Cache-aware FastConformer transducer, encoder started from `{keys['init']}`, fine-tuned on {keys['hours']} h"
        f" (seed {keys['seed']}). Latency tier {tier['name']}: chunks of {(tier['right'] + 1) * 80} ms,"
        f" {tier['left'] * 80} ms of left context. Precision `{about['precision']}`: encoder {_computes(about['settings'])};"
        f" {about['encoder_bytes'] / 1e6:.1f} MB.",
        "",
        "## Use",
        "",
        f"With sherpa-onnx {about['versions']['sherpa-onnx']}, without conversion:",
        "",
        "```python",
        "import sherpa_onnx, soundfile",
        "recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(",
        '    tokens="tokens.txt", encoder="encoder.onnx", decoder="decoder.onnx", joiner="joiner.onnx",',
        f'    feature_dim={about["feature_dim"]}, decoding_method="greedy_search")',
        'samples, rate = soundfile.read("example.wav", dtype="float32")',
        "stream = recognizer.create_stream()",
        f"stream.accept_waveform(rate, [0.0] * round({FRONT_S} * rate))  # lines up its frames and chunks with the native ones",
        "stream.accept_waveform(rate, samples)",
        f"stream.accept_waveform(rate, [0.0] * round({seconds} * rate))  # else the last words stay in its buffer",
        "stream.input_finished()",
        "while recognizer.is_ready(stream):",
        "    recognizer.decode_stream(stream)",
        "print(recognizer.get_result(stream))",
        "```",
        "",
        f"`example.wav` ({about['example']['id']}), reference: {about['example']['reference']}",
        "",
        f"What this prints for it here: {about['example']['sherpa_onnx'] or '(nothing)'}",
        "",
        "At the end of an utterance (endpoint detection) take a new stream, with the zeros in front, and not"
        " `recognizer.reset(stream)`: that empties the encoder's cache, the next window is taken for the first of a stream,"
        " and 16 frames are cut off its front, 7 of them not heard before (70 ms).",
        "",
        "## Measured",
        "",
        *_measured(about, measured, confidence),
        "sherpa-onnx makes its own features, so it does not hear exactly what was scored. With the zeros above its frames and"
        " chunks are those of the native decode, and what is left is the edge of the signal; without them 160 ms are lost."
        f" Against the native decode with the same weights, on {met['utterances']} utterances ({met['native_words']} words):",
        "",
        "| zeros | identical utterances | differing words |",
        "| --- | --- | --- |",
        *(f"| {row['variant']} | {row['identical']} | {row['differing_words']} |" for row in met["variants"]),
        "",
        f"Speed there: {met['rtfx']:.1f} times real time on one thread of {about['processor']}, one stream.",
        "",
        "## Licence",
        "",
        *_licences(origin, keys["init"]),
        "",
        "## Files",
        "",
        *(f"- `{name}`: sha256 {entry['sha256']}" for name, entry in about["files"].items()),
        "",
    ]
    return "\n".join(lines)


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not path.is_file():
        raise UserError(f"{folder}: no bundle.json; make the bundle with build_bundle.py")
    try:
        about = files.read_json(path)
    except ValueError as error:  # no JSON, or no UTF-8
        raise UserError(f"{path}: damaged ({error}); make the bundle again with build_bundle.py") from None
    found = about if isinstance(about, dict) else {}
    blocks = {key: value if isinstance(value, dict) else {} for key, value in found.items()}
    lacking = [key for key, parts in _ABOUT.items() if key not in found or not parts <= blocks[key].keys()]
    if lacking:
        raise UserError(f"{path}: lacks {', '.join(lacking)}; make the bundle again with build_bundle.py")
    return about


def verify(folder: str | Path) -> dict[str, Any]:
    """Check a bundle against its own digests and give its `bundle.json`.

    Raises:
        UserError: a damaged `bundle.json`, or listing files that are missing or changed.
    """
    folder = Path(folder)
    about = _read_about(folder)
    missing = [name for name in about["files"] if not (folder / name).is_file()]
    changed = [
        name for name, entry in about["files"].items() if name not in missing and files.digest(folder / name) != entry["sha256"]
    ]
    if missing or changed:
        raise UserError(f"{folder}: missing {missing or 'nothing'}, changed {changed or 'nothing'}; make the bundle again")
    return about


def describe(
    folder: str | Path,
    hypotheses: Sequence[str | Path],
    tests: dict[str, Path],
    settings: dict[str, Any],
    origin: dict[str, Any],
) -> None:
    """Write the README of a bundle that is there.

    Args:
        hypotheses, tests: see `measure`; no hypotheses = nothing was scored.
        settings: of `Study.bundle_settings`: what `measure` takes, and `statistics`.
        origin: see `readme`.

    Raises:
        UserError: no such bundle, files of it that are missing or changed, or what `measure` refuses.
    """
    from warmstart import statistics

    folder = Path(folder)
    about = verify(folder)
    chosen = statistics.DEFAULTS | settings.get("statistics", {})
    measured = measure(about, hypotheses, tests, settings, chosen)
    files.write_text(folder / "README.md", readme(about, measured, origin, chosen["confidence"]))


def build(
    model_path: str | Path,
    tier: streaming.Tier,
    precision: str,
    settings: dict[str, Any],
    keys: dict[str, Any],
    examples: str | Path,
    output: str | Path,
    agreement_utterances: int = 20,
) -> dict[str, Any]:
    """Make a bundle.

    Args:
        settings: of the precision (`quantization.Scheme`; scheme null = float32).
        keys: lang, init, hours, seed.
        examples: test manifest; its first utterance becomes `example.wav`.
        agreement_utterances: how many of the examples are decoded by sherpa-onnx and natively.

    Returns:
        Content of `bundle.json`.

    Raises:
        UserError: offline tier or one without cache, bad settings, model or examples.
    """
    import importlib.metadata
    import tempfile

    import soundfile

    if tier.offline:
        raise UserError(f"tier {tier.name} is offline; a bundle streams: choose a streaming tier (bundle.tier)")
    quantization.require_exportable(tier)
    scheme = quantization.Scheme.from_json({**settings, "scheme": settings.get("scheme") or "fp32"})
    utterances = streaming.read_manifest(examples)[:agreement_utterances]
    model = streaming.load_model(model_path)
    sample_rate = int(model.cfg.preprocessor.sample_rate)
    waveforms = [streaming.load_audio(utterance, sample_rate) for utterance in utterances]
    with atomic_directory(output) as folder, tempfile.TemporaryDirectory() as scratch:
        write_networks(model, tier, scheme, folder)
        soundfile.write(folder / "example.wav", waveforms[0], sample_rate, subtype="PCM_16")
        example, _ = soundfile.read(folder / "example.wav", dtype="float32")  # as it ships: rounded, and clipped at 1
        native = Path(scratch) / "encoder.onnx"
        _write_native(model, tier, scheme, native)
        decoder = streaming.Decoder(model, tier, streaming.OnnxEncoder(native, tier))
        spoken = recognize(open_recognizer(folder), example, sample_rate, tail_s(tier))
        about = {
            "keys": keys,
            "precision": precision,
            "tier": vars(tier),
            "settings": vars(scheme),
            "model_sha256": files.digest(model_path),
            "processor": streaming.device_name("cpu"),
            "encoder_bytes": sum(path.stat().st_size for path in folder.glob("encoder.onnx*")),  # with its .data
            "feature_dim": model.encoder._feat_in,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "example": {
                "id": utterances[0].id,
                "reference": utterances[0].text,
                "sherpa_onnx": "".join(spoken).replace("\u2581", " ").strip(),
            },
            "agreement": agreement(folder, decoder, waveforms),
            "files": {
                name: {"bytes": (folder / name).stat().st_size, "sha256": files.digest(folder / name)}
                for name in sorted(path.name for path in folder.iterdir())
            },
        }
        files.write_json(folder / "bundle.json", about)
    return about


def _write_native(model, tier: streaming.Tier, scheme: quantization.Scheme, path: Path) -> None:
    """The native-step twin of the bundle's encoder, from the same quantiser and weights."""
    native = quantization.quantize(quantization.export(model.encoder, tier), scheme)
    quantization.set_metadata(native, {"warmstart_form": "native", "warmstart_context": json.dumps(tier.context)})
    quantization.save(native, path)
