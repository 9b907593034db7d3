"""Decode all test sets of a language with one model at one precision and latency tier.

Reads a model (`.nemo`), optionally a quantised encoder for the tier (`encoder.onnx`), and Lhotse
test manifests. Writes a hypothesis file (`.jsonl`: id, block, duration_s, ref, hyp, tokens with
emission times) a test set and its header (`.json`: keys, speed, digests, versions) beside it. A
file whose header says that it was made of the same inputs is left untouched. What is finished of a
test set stands in `.{test_set}.journal`, so that a killed job repeats one batch at most.

Without `--encoder` PyTorch computes every step. With it ONNX Runtime computes the encoder, and
PyTorch features, predictor and joint; on a GPU and for offline tiers the dequantised weights of
that file stand in PyTorch instead (`export.encoder.load_weights`).

    python workflow/scripts/decode.py --model results/runs/it/en/0.32h/seed1/model.nemo \\
        --keys '{"lang": "it", "init": "en", "hours": "0.32", "seed": 1, "precision": "full"}' \\
        --tier '{"name": "560ms", "left": 70, "right": 6, "offline": false}' \\
        --cuts human=results/manifests/human/it/test.jsonl.gz --output human=hypotheses/human.jsonl
        \\ --settings '{"batch_size": 32, "device": "auto", "threads": 1}'
"""

import argparse
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from warmstart.decoding import devices, hypotheses
from warmstart.decoding.journal import Journal
from warmstart.decoding.test_set import batch_check, decode_test_set
from warmstart.decoding.utterances import read_manifest
from warmstart.models.fastconformer import chunks, load
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.run import cli, files
from warmstart.run.errors import UserError
from warmstart.study.tier import Tier

KEYS = ("lang", "init", "hours", "seed", "precision")
_PACKAGES = ("nemo-toolkit", "torch", "onnxruntime", "lhotse")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line and check that it hangs together."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--encoder",
        type=Path,
        nargs="?",
        help="encoder.onnx of quantize.py for this model and tier; none = the model's",
    )
    parser.add_argument(
        "--keys", type=cli.json_value, required=True, help=f"JSON with {', '.join(KEYS)}"
    )
    parser.add_argument(
        "--tier", type=cli.json_value, required=True, help="JSON with name, left, right, offline"
    )
    parser.add_argument(
        "--cuts", type=cli.named_path, nargs="+", required=True, metavar="TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--output", type=cli.named_path, nargs="+", required=True, metavar="TEST_SET=HYPOTHESES"
    )
    parser.add_argument(
        "--zero-shot",
        action="store_true",
        help="the model is a donor as published: tiers take its own left contexts",
    )
    parser.add_argument(
        "--prompt", help="language, as the model's own dictionary of prompts names it"
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="JSON with batch_size, device, threads",
    )
    arguments = parser.parse_args(argv)
    if missing := [key for key in KEYS if key not in arguments.keys]:
        parser.error(f"--keys lacks {', '.join(missing)}")
    if sorted(name for name, _ in arguments.cuts) != sorted(name for name, _ in arguments.output):
        parser.error("--cuts and --output must name the same test sets")
    return arguments


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _open_decoder(
    arguments: argparse.Namespace, tier: Tier, device: str, model_sha256: str
) -> Decoder:
    """Model and encoder for this precision, ready to decode."""
    model = load.load_model(arguments.model, device)
    if arguments.zero_shot:
        tier = chunks.own_left(model.encoder, tier)
    load.set_prompt(model, arguments.prompt)
    if arguments.encoder is None:
        return Decoder(model, tier)
    steps = OnnxEncoder(arguments.encoder, tier, model_sha256, arguments.settings.get("threads", 1))
    if device == "cuda" or tier.offline:
        from warmstart.export import encoder

        encoder.load_weights(model.encoder, arguments.encoder)
        return Decoder(model, tier)
    return Decoder(model, tier, steps)


def main(argv: list[str] | None = None) -> None:
    """Decode what is not current."""
    arguments = parse(argv)
    logger = cli.start(arguments)
    tier = Tier.from_json(arguments.tier)
    settings = {"batch_size": 32, "device": "auto", "threads": 1, **arguments.settings}
    if settings["batch_size"] < 1:
        raise UserError(f"batch_size is {settings['batch_size']}; at least 1 is needed")
    for path in (arguments.model, arguments.encoder):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; run the rule that makes it")
    device = devices.resolve_device(settings["device"])
    identity: dict[str, Any] = {
        **{key: arguments.keys[key] for key in KEYS},
        "tier": tier.name,
        "left": tier.left,
        "right": tier.right,
        "offline": tier.offline,
        "batch_size": settings["batch_size"],
        "device": device,
        "model_sha256": files.digest(arguments.model),
        "encoder_sha256": files.digest(arguments.encoder) if arguments.encoder else None,
    }
    if arguments.zero_shot or arguments.prompt:
        # Here alone, so that the fingerprints of all other hypotheses stay as they are.
        identity |= {"zero_shot": arguments.zero_shot, "prompt": arguments.prompt}
    outputs = dict(arguments.output)
    work = []
    for test_set, manifest in arguments.cuts:
        utterances = read_manifest(manifest)
        about = {**identity, "test_set": test_set, "manifest_sha256": files.digest(manifest)}
        about["fingerprint"] = hypotheses.fingerprint(**about)
        if hypotheses.is_current(outputs[test_set], about["fingerprint"]):
            logger.info("%s: current, left as it is", outputs[test_set])
            hypotheses.journal_path(outputs[test_set]).unlink(missing_ok=True)
        else:
            work.append((test_set, utterances, about))
    if not work:
        return

    started = time.perf_counter()
    import torch

    torch.set_num_threads(settings["threads"])
    decoder = _open_decoder(arguments, tier, device, identity["model_sha256"])
    load_s = time.perf_counter() - started
    versions = {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }
    measured_on = {"device_name": devices.device_name(device), "threads": settings["threads"]}
    # Of a job that fails Snakemake removes all outputs, finished ones too: what vouches for them
    # stays until the last is there.
    journals: list[Journal] = []
    checked: dict[str, Any] = {}
    for test_set, utterances, about in work:
        journals.append(
            journal := Journal(hypotheses.journal_path(outputs[test_set]), about["fingerprint"])
        )
        decoded = decode_test_set(decoder, utterances, settings["batch_size"], journal, measured_on)
        if not checked:
            checked = {
                "test_set": test_set,
                **batch_check(decoder, utterances, settings["batch_size"], journal),
            }
            if checked["differing_utterances"]:
                logger.warning("tokens depend on the batch: %s", checked)
        timing = decoded.timing
        audio_s = sum(utterance.duration_s for utterance in utterances)
        header = {
            **about,
            "left": decoder.tier.left,
            "engine": decoder.engine,
            "lookahead_ms": None if tier.offline else tier.lookahead_ms,
            "utterances": len(utterances),
            "tokens": decoded.tokens,
            "audio_s": round(audio_s, 3),
            # From waveforms in memory to tokens; loading the model (load_s) and reading audio are
            # left out.
            "compute_s": round(timing.compute_s, 4),
            "features_s": round(timing.features_s, 4),
            "load_s": round(load_s, 3),
            "rtfx": round(audio_s / timing.compute_s, 2),
            # On a few utterances of the first test set of this job. A chunk is one of a live
            # stream; offline has none.
            "batch_check": checked,
            **decoded.measured_on,
            "decode_recipe": hypotheses.RECIPE,
            "versions": versions,
        }
        hypotheses.write_hypotheses(outputs[test_set], journal.lines(), header)
        logger.info(
            "%s at %s: %d utterances, %.0f s of audio in %.2f s (RTFx %.0f)",
            test_set, tier.name, len(utterances), audio_s, timing.compute_s, header["rtfx"],
        )  # fmt: skip
    for journal in journals:
        journal.remove()


if __name__ == "__main__":
    cli.run(main)
