"""Pretrain an encoder by CTC on one or several languages, to be the warm start of fine-tuning.

Reads one manifest per language. Writes a `.nemo` (an `EncDecCTCModelBPE` whose encoder later runs
take over) and beside it `{name}.json` with hours per language, settings and digests.

Example:
    python workflow/scripts/pretrain_init.py --cuts en=results/manifests/spoken/en/train.jsonl.gz \
        --settings @pretrain_en.yaml --output resources/inits/en.nemo
"""

import hashlib
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines
from warmstart.run import cli, files, locks
from warmstart.run.errors import UserError


def choose(
    manifests: dict[str, Path], hours: float, seed: int, text: dict[str, Any], output: Path
) -> dict[str, float]:
    """Write the training cuts: the same hours of every language, drawn in an order keyed by cut id,
    with normalised text.

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

    share_s, chosen, got = hours * 3600 / len(manifests), [], {}
    for lang, path in manifests.items():
        seconds = 0.0
        for cut in sorted(
            cut_lines.read(path),
            key=lambda cut: hashlib.sha256(f"{seed} {cut['id']}".encode()).digest(),
        ):
            supervision = cut_lines.supervision(cut)
            supervision["text"] = (
                normalize(supervision["text"], text[lang]) if lang in text else supervision["text"]
            )
            if not supervision["text"]:
                continue
            chosen.append(cut)
            seconds += cut_lines.duration_s(cut)
            if seconds >= share_s:
                break
        else:
            raise UserError(
                f"{lang}: {share_s / 3600:.3f} h asked for pretraining, {seconds / 3600:.3f} h in "
                f"{path}; lower `hours`"
            )
        got[lang] = seconds / 3600
    with cut_lines.writing(output) as stream:
        for cut in chosen:
            stream.write(cut_lines.line(cut))
    return got


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--cuts",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="LANG=PATH",
        help="manifest per language",
    )
    parser.add_argument(
        "--dev-cuts",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="LANG=PATH",
        help="for a word error rate",
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help=(
            "JSON: hours, steps, seed, vocab_size, batch_duration_s, optimizer, schedule, model "
            "(training.model), "
            "text (language -> its block `text`)"
        ),
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=None,
        help="tokenizer and checkpoints; default: OUTPUT without .nemo + .work",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .nemo")
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    started = time.monotonic()
    settings = arguments.settings
    if settings.get("objective", "ctc") != "ctc":
        raise UserError(f"pretrain.objective is {settings['objective']!r}; allowed: ctc")

    import lightning.pytorch as pl
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    from warmstart.data import tokenizer
    from warmstart.models.fastconformer import build
    from warmstart.run import logs
    from warmstart.training import loop, record
    from warmstart.training.optimizer import optimizer_config, spec_augment_config
    from warmstart.training.validation import CTCValidation

    logs.route_nemo_logs()
    work = arguments.work_dir or arguments.output.with_suffix(".work")
    lock = locks.hold(work)  # noqa: F841, kept to the end of the process
    chosen = work / "cuts.jsonl.gz"
    text = settings.get("text") or {}
    hours = choose(dict(arguments.cuts), settings["hours"], settings["seed"], text, chosen)
    tokenizer.train(
        tokenizer.supervision_texts(chosen), work / "tokenizer", settings.get("vocab_size", 128)
    )

    steps, seed = settings["steps"], settings["seed"]
    config = build.fresh_encoder(settings["model"])
    config |= {
        "sample_rate": 16000,
        "log_prediction": False,
        "tokenizer": {"dir": str(work / "tokenizer"), "type": "bpe"},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": settings["model"]["d_model"],
            "num_classes": -1,
            "vocabulary": [],
        },
        "ctc_reduction": "mean_batch",
    }
    optimizer = optimizer_config(settings, steps, settings["model"]["d_model"])
    config |= optimizer | spec_augment_config(settings.get("spec_augment"))
    pl.seed_everything(seed, verbose=False)
    model = EncDecCTCModelBPE(cfg=OmegaConf.create(config))
    total = sum(hours.values())
    logger.info(
        "%s, %.3f h in all, %d steps",
        ", ".join(f"{lang} {value:.3f} h" for lang, value in hours.items()),
        total,
        steps,
    )

    validate = None
    if arguments.dev_cuts:
        dev = work / "dev.jsonl.gz"
        seconds = {
            lang: sum(cut_lines.duration_s(cut) for cut in cut_lines.read(path))
            for lang, path in arguments.dev_cuts
        }
        choose(
            dict(arguments.dev_cuts),
            0.99 * min(seconds.values()) * len(seconds) / 3600,
            seed,
            text,
            dev,
        )
        validate = CTCValidation(dev, settings["batch_duration_s"])
    recorder = loop.fit(
        model,
        chosen,
        settings,
        steps=steps,
        seed=seed,
        run_dir=work,
        total_hours=total,
        validate=validate,
        identity={
            "inputs": {
                "cuts": files.digest(chosen),
                "tokenizer": files.digest(work / "tokenizer" / "tokenizer.model"),
            }
        },
    )
    loop.save(model, arguments.output)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    files.write_json(
        arguments.output.with_suffix(".json"),
        {
            "hours": {lang: round(value, 5) for lang, value in hours.items()},
            "steps": steps,
            "seed": seed,
            "epochs": round(recorder.epochs, 3),
            "final": {
                name: recorder.last_row.get(name) for name in ("loss", "dev_loss", "dev_wer")
            },
            "parameters_encoder": sum(p.numel() for p in model.encoder.parameters()),
            "settings": settings,
            "cuts_sha256": files.digest(chosen),
            "sha256": files.digest(arguments.output),
            "git_commit": record.git_commit(),
            "versions": record.versions(),
            "hardware": record.hardware(),
            "wall_s": round(time.monotonic() - started, 1),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        },
    )
    shutil.rmtree(work)
    logger.info(
        "%s: %.1f MB after %.0f s",
        arguments.output,
        arguments.output.stat().st_size / 1e6,
        time.monotonic() - started,
    )


if __name__ == "__main__":
    cli.run(main)
