"""A deployable recogniser: networks and tokens in the form that its family declares, which
sherpa-onnx loads as it is.

The family writes the networks. How often tokens then agree with native decoding is measured here
and written into the bundle, not assumed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warmstart.data.audio import load_audio
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.decoding import devices
from warmstart.export import forms, identifiers, matmul_nbits
from warmstart.export.scheme import Scheme
from warmstart.models import (
    DEFAULT_FAMILY,
    kind_of,
    onnx_file,
    open_family,
    require_bundle,
    require_bundle_tier,
)
from warmstart.models.base import EncoderFile, Recogniser
from warmstart.models.bundle_forms import DEFAULT_FORM, Form
from warmstart.models.tier import Tier
from warmstart.run import files, vouchers
from warmstart.run.errors import UserError
from warmstart.run.folders import atomic_directory

_PACKAGES = ("sherpa-onnx", "onnxruntime", "nemo-toolkit", "torch")


# What the README is made of, in `bundle.json`.
_ABOUT: dict[str, set[str]] = {
    "keys": {"training_set", "arm", "hours", "seed"},
    "tier": {"name", "left", "right", "offline"},
    "settings": {"scheme", "bits", "block_size", "accuracy_level"},
    "versions": {"sherpa-onnx"},
    "example": {"id", "reference", "sherpa_onnx"},
    "agreement": {"utterances", "native_words", "variants", "rtfx"},
    "files": set(),
    **{
        key: set()
        for key in ("precision", "model_sha256", "processor", "encoder_bytes", "feature_dim")
    },
}


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not path.is_file():
        raise UserError(f"{folder}: no bundle.json; make the bundle with build_bundle.py")
    about = files.read_json(path, "make the bundle again with build_bundle.py")
    found = about if isinstance(about, dict) else {}
    blocks = {key: value if isinstance(value, dict) else {} for key, value in found.items()}
    listed = set(forms.of_bundle(found).form.files) - {"bundle.json"}
    lacking = [
        key
        for key, parts in {**_ABOUT, "files": listed}.items()
        if key not in found or not parts <= blocks[key].keys()
    ]
    if lacking:
        raise UserError(
            f"{path}: lacks {', '.join(lacking)}; make the bundle again with build_bundle.py"
        )
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
        name
        for name, entry in about["files"].items()
        if name not in missing and files.digest(folder / name) != entry["sha256"]
    ]
    if missing or changed:
        raise UserError(
            f"{folder}: missing {missing or 'nothing'}, changed {changed or 'nothing'}; make the "
            "bundle again"
        )
    return about


def build(
    model_path: str | Path,
    tier: Tier,
    precision: str,
    settings: dict[str, Any],
    keys: dict[str, Any],
    examples: Sequence[str | Path],
    output: str | Path,
    agreement_utterances: int = 20,
    family: str = DEFAULT_FAMILY,
    identified: str | Path | None = None,
) -> dict[str, Any]:
    """Make a bundle.

    Args:
        settings: of the precision (`Scheme`; scheme null = float32).
        keys: lang, init, hours, seed.
        examples: test manifests. The first utterance of the first one that the form hears in one
            piece becomes `example.wav`.
        agreement_utterances: how many of each manifest are decoded with the bundle and natively.
        family: of the model.
        identified: what `identify_language.py` wrote beside its Parquet, of this model; with it a
            bundle of a head a language detects languages. None: it does not.

    Returns:
        Content of `bundle.json`.

    Raises:
        UserError: a tier that the form has not, or one without cache; a family without bundles;
            bad settings, model or examples, examples that are all too long for the form, or see
            `identifiers.read`.
    """
    import importlib.metadata
    import tempfile

    import soundfile

    require_bundle_tier(family, tier)
    scheme = Scheme.from_json({**settings, "scheme": settings.get("scheme") or "fp32"})
    spoken_in = {path: read_test_set(path) for path in examples}
    model_sha256 = vouchers.verified(model_path)
    model = open_family(family).load(model_path)
    heads = model.decoder(tier).heads
    form = require_bundle(family, heads)
    name = kind_of(family).heads_bundle if heads else kind_of(family).bundle
    opened = forms.open_form(name, heads)
    utterances = [
        utterance
        for path, found in spoken_in.items()
        for utterance in _short_enough(found, form, path)[:agreement_utterances]
    ]
    langs = [utterance.lang for utterance in utterances]
    _require_heads(langs, heads, examples)
    identifier = identifiers.read(identified, model_sha256, tier) if identified else None
    sample_rate = model.sample_rate
    waveforms = [load_audio(utterance, sample_rate) for utterance in utterances]
    with atomic_directory(output) as folder, tempfile.TemporaryDirectory() as scratch:
        written = model.write_networks(
            tier,
            folder,
            lambda graph: matmul_nbits.quantize(graph, scheme),
            **({"identifier": identifier} if identifier else {}),
        )
        soundfile.write(folder / "example.wav", waveforms[0], sample_rate, subtype="PCM_16")
        example, _ = soundfile.read(
            folder / "example.wav", dtype="float32"
        )  # as it ships: rounded, and clipped at 1
        if kind_of(family).exports:
            native = Path(scratch) / "encoder.onnx"
            _write_native(model, tier, scheme, native)
            decoder = model.decoder(tier, EncoderFile(native))
        else:
            decoder = model.decoder_of_bundle(tier, folder)
        spoken = opened.said(opened.open(folder), example, sample_rate, tier, langs[0])
        about = {
            **({"form": name} if name != DEFAULT_FORM else {}),
            **({"heads": list(heads)} if heads else {}),
            "keys": keys,
            "precision": precision,
            "tier": vars(tier),
            "settings": vars(scheme),
            "model_sha256": model_sha256,
            "processor": devices.device_name("cpu"),
            "encoder_bytes": sum(
                path.stat().st_size for path in folder.glob(f"{form.networks[0]}*")
            ),  # with its .data
            **written,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "example": {
                "id": utterances[0].id,
                "reference": utterances[0].text,
                **({"lang": langs[0]} if heads or not kind_of(family).exports else {}),
                "sherpa_onnx": spoken,
            },
            "agreement": opened.agreement(folder, decoder, waveforms, langs),
            "files": {
                name: {
                    "bytes": (folder / name).stat().st_size,
                    "sha256": files.digest(folder / name),
                }
                for name in sorted(
                    str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
                )
            },
        }
        files.write_json(folder / "bundle.json", about)
    return about


def _short_enough(
    utterances: list[TestUtterance], form: Form, examples: str | Path
) -> list[TestUtterance]:
    """Those that a form hears in one piece."""
    longest_s = form.longest_s
    found = [one for one in utterances if longest_s is None or one.duration_s <= longest_s]
    if not found:
        raise UserError(
            f"{examples}: no utterance of {longest_s:g} s or less, which is what a bundle of this "
            "kind hears in one piece; give a test set of shorter ones for the example"
        )
    return found


def _require_heads(
    langs: Sequence[str | None], heads: Sequence[str], examples: Sequence[str | Path]
) -> None:
    """Examples of a model with a head a language are in languages that have one."""
    if heads and (others := sorted({str(lang) for lang in langs} - set(heads))):
        raise UserError(
            f"{', '.join(map(str, examples))}: utterances in {', '.join(others)}, and the model "
            f"has heads of {', '.join(heads)}; give test sets in these languages"
        )


def _write_native(model: Recogniser, tier: Tier, scheme: Scheme, path: Path) -> None:
    """The native-step twin of the bundle's encoder, from the same quantiser and weights."""
    graph = model.export_encoder(tier)
    native = matmul_nbits.quantize(graph.model, scheme)
    onnx_file.set_metadata(
        native, {"warmstart_form": graph.form, "warmstart_context": json.dumps(tier.context)}
    )
    onnx_file.save(native, path)
