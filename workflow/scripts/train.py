"""Fine-tune one transducer from one encoder on one budget of one language.

Reads the cuts of a budget, held-out cuts, the language's tokenizer and an init. Writes
`model.nemo`, and into the run folder `train.csv` (progress), `run.json` (provenance) and
`checkpoints/`. Killed at any moment, the same command continues.

Example:
    python workflow/scripts/train.py --train-cuts results/budgets/it/0.32h.jsonl.gz \
        --dev-cuts results/manifests/spoken/it/dev.jsonl.gz --tokenizer results/tokenizers/it --init
        resources/inits/en.nemo \ --keys '{"lang": "it", "init": "en", "hours": "0.32", "seed": 1}'
        --settings @training.yaml \ --run-dir results/runs/it/en/0.32h/seed1 --output
        results/runs/it/en/0.32h/seed1/model.nemo
"""

import os
import resource
import time
from pathlib import Path

from warmstart.run import cli, files, locks
from warmstart.run.errors import UserError
from warmstart.run.logs import process_rank

SCRATCH = "scratch"
KEYS = ("lang", "init", "hours", "seed")


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--train-cuts",
        type=Path,
        required=True,
        help="budget, a Lhotse manifest with normalised text",
    )
    parser.add_argument(
        "--dev-cuts", type=Path, default=None, help="held-out cuts for dev_loss and dev_wer"
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.model")
    parser.add_argument(
        "--init", required=True, help=f"encoder donor, a .nemo file, or `{SCRATCH}`"
    )
    parser.add_argument(
        "--like",
        type=Path,
        default=None,
        help=f"with --init {SCRATCH}: .nemo whose architecture is taken",
    )
    parser.add_argument(
        "--same-kind-as",
        type=cli.named_path,
        default=None,
        metavar="INIT=PATH",
        help="another init of the study to compare with",
    )
    parser.add_argument(
        "--keys", type=cli.json_value, required=True, help="JSON: lang, init, hours, seed"
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="JSON: the block `training` of the configuration",
    )
    parser.add_argument(
        "--pace",
        type=cli.json_value,
        default={},
        help="JSON: more of that block, which changes no model",
    )
    parser.add_argument(
        "--text",
        type=cli.json_value,
        default=None,
        help="JSON: the language's block `text`, for --dev-cuts",
    )
    parser.add_argument(
        "--recipe",
        type=int,
        default=0,
        help="version of the recipe; checkpoints of another one are not continued",
    )
    parser.add_argument(
        "--run-dir", type=Path, required=True, help="train.csv, run.json, checkpoints/"
    )
    parser.add_argument("--output", type=Path, required=True, help="model.nemo")
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    started = time.monotonic()

    keys, settings = arguments.keys, arguments.settings | arguments.pace
    if missing := [name for name in KEYS if name not in keys]:
        raise UserError(f"--keys has no {', '.join(missing)}; it needs {', '.join(KEYS)}")
    scratch = arguments.init == SCRATCH
    if scratch and arguments.like is None:
        raise UserError(
            f"--init {SCRATCH} needs --like, the .nemo whose architecture the random encoder gets"
        )
    donor_path = arguments.like if scratch else Path(arguments.init)

    noise = (settings.get("noise") or {}).get("manifest")
    # Everything that can be wrong with the inputs is found before NeMo's ten seconds of import.
    for path in (
        arguments.train_cuts,
        arguments.dev_cuts,
        Path(noise) if noise else None,
        arguments.tokenizer / "tokenizer.model",
        donor_path,
    ):
        if path is not None and not path.exists():
            raise UserError(
                f"{path}: no such file; run the rule that makes it, or correct the path"
            )

    # Kept to the end of the process; further processes of the same run belong to the one that holds
    # it.
    lock = locks.hold(arguments.run_dir) if process_rank() == 0 else None  # noqa: F841

    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    from warmstart.adaptation import adapter, chosen
    from warmstart.models.fastconformer import build, loss
    from warmstart.models.fastconformer.donor import about, read_config, require_same_kind
    from warmstart.run import logs
    from warmstart.study import recipe, run_length
    from warmstart.training import loop, order, record
    from warmstart.training.distributed import Ranks
    from warmstart.training.optimizer import optimizer_config, spec_augment_config
    from warmstart.training.validation import Validation

    logs.route_nemo_logs()
    seed = int(keys["seed"])
    cut_count, hours, replayed_hours = order.manifest_totals(arguments.train_cuts)
    # An epoch is a pass over all that is heard, as it is heard.
    heard_hours = (hours + replayed_hours) * run_length.stretch(settings.get("speed_perturb"))
    ranks = Ranks(settings)
    steps = run_length.resolve_steps(
        settings["steps"], heard_hours, settings["batch_duration_s"] * ranks.world
    )
    recipe.check_warmup(settings, steps)

    donor = read_config(donor_path)
    if arguments.same_kind_as is not None:
        other, other_path = arguments.same_kind_as
        require_same_kind({other: other_path, keys["init"]: donor_path}, settings.get("model"))
    chosen.check(settings, donor["encoder"])
    config = build.transducer_config(donor, settings["model"], arguments.tokenizer)
    if adapter.adapts(settings):
        config["encoder"] = adapter.adaptable(config["encoder"])
    optimizer = optimizer_config(settings, steps, config["encoder"]["d_model"])
    config |= optimizer | spec_augment_config(settings.get("spec_augment"))
    import lightning.pytorch as pl

    pl.seed_everything(seed, verbose=False)
    model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config))
    loaded = 0 if scratch else build.load_encoder(model, donor_path)
    build.reset_new_modules(model, seed)
    encoder_tensors = len(model.encoder.state_dict())
    if adapter.adapts(settings):
        adapter.add_adapters(model, settings.get("adapter_dim", adapter.DEFAULT_ADAPTER_DIM), seed)
    start_digests = {
        name: build.tensors_digest(getattr(model, name)) for name in ("encoder", "decoder", "joint")
    }
    loss.use_fast_loss(model)
    logger.info(
        "%d cuts, %.4f h, %d steps, %d encoder tensors from %s",
        cut_count,
        hours,
        steps,
        loaded,
        arguments.init,
    )

    # Inputs are digested before training: a file replaced meanwhile must not enter the record.
    digests = {
        "train_cuts": files.digest(arguments.train_cuts),
        "dev_cuts": files.digest(arguments.dev_cuts) if arguments.dev_cuts else None,
        "tokenizer": files.digest(arguments.tokenizer / "tokenizer.model"),
        "init": None if scratch else files.digest(donor_path),
        "noise": files.digest(noise) if noise else None,
    }
    validate = None
    if arguments.dev_cuts:
        validate = Validation(arguments.dev_cuts, settings["batch_duration_s"], arguments.text)
    inputs = {**digests, "dev_cuts": None}
    if recipe.stops_early(settings):
        if validate is None:
            raise UserError(
                "training.early_stop needs --dev-cuts: without a validation no run ends early"
            )
        inputs |= {"dev_cuts": digests["dev_cuts"], "dev_text": arguments.text}
    recorder = loop.fit(
        model,
        arguments.train_cuts,
        settings,
        steps=steps,
        seed=seed,
        run_dir=arguments.run_dir,
        total_hours=hours,
        validate=validate,
        identity={"recipe": arguments.recipe, **keys, "inputs": inputs},
        callbacks=chosen.callbacks(settings),
    )
    if not ranks.first:
        return
    loop.save(model, arguments.output)
    recorder.starts.note(recorder.state["step"])

    usage = resource.getrusage(resource.RUSAGE_SELF)
    files.write_json(
        arguments.run_dir / "run.json",
        {
            **{name: keys[name] for name in KEYS},
            "steps": recorder.state["step"],
            "steps_planned": steps,
            "averaged_steps": recorder.averaged_steps,
            "cuts": cut_count,
            "hours_budget": round(hours, 6),
            "hours_seen": round(recorder.state["hours_seen"], 6),
            "replay_hours": round(replayed_hours, 6),
            "replay_hours_seen": round(recorder.state["replay_hours"], 6),
            "unique_hours": round(recorder.unique_hours, 6),
            "epochs": round(recorder.epochs, 4),
            "padding_share": round(
                1 - recorder.padding["audio_s"] / recorder.padding["padded_s"], 4
            ),
            "undecodable_cuts": recorder.state["undecodable"],
            "final": {
                name: recorder.last_row.get(name) for name in ("loss", "dev_loss", "dev_wer")
            },
            "encoder_tensors_loaded": loaded,
            "encoder_tensors": encoder_tensors,
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "parameters": {
                name: sum(p.numel() for p in getattr(model, name).parameters())
                for name in start_digests
            },
            "start_digests": start_digests,
            "input_digests": digests,
            "init_facts": about(donor),
            "model_sha256": files.digest(arguments.output),
            "settings": settings,
            # Says where the donor came from: repository, revision, digest (download_init.py).
            "init_source": files.read_json(source)
            if (source := donor_path.with_suffix(".json")).exists()
            else None,
            "git_commit": record.git_commit(),
            "versions": record.versions(),
            "hardware": record.hardware(),
            "train_s": round(recorder.elapsed_s, 2),
            "audio_hours_per_hour": round(recorder.padding["audio_s"] / recorder.elapsed_s, 2),
            "devices": ranks.devices,
            "num_nodes": ranks.nodes,
            "wall_s": recorder.starts.wall_s,
            "gpu_hours": recorder.starts.gpu_hours,
            "starts": recorder.starts.entries,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_mb": round(usage.ru_maxrss / 1024),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
        },
    )
    logger.info(
        "%s after %.0f s; dev WER %s",
        arguments.output,
        time.monotonic() - started,
        recorder.last_row.get("dev_wer"),
    )


if __name__ == "__main__":
    cli.run(main)
