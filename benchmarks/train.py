"""Audio hours trained per hour: this workflow's loop beside NeMo's example settings, on the same
model and the same audio.

Makes audio and texts with the durations of Common Voice and MLS mixed (1 to 20 s), then trains for
some steps, each variant in a process of its own:

- nemo: NeMo's manifest dataset, 16 utterances a batch whatever their length, joint and loss four
  utterances at a time, as in
  examples/asr/conf/fastconformer/cache_aware_streaming/fastconformer_transducer_bpe_streaming.yaml;
- nemo_our_loss: the same with the loss that this workflow uses on the device, so that data and loss
  can be told apart. On a CPU it stands in for `nemo`, whose loss takes a minute a step there (it
  runs when asked for by name);
- ours: Lhotse buckets, as many seconds a batch as `nemo` has on average;
- ours_30: the same with 30 buckets from the durations of the data (`bucket_bins_s: 30`) and joint
  and loss in parts of 60 MB (`joint_mb`);
- ours_600: batches of 600 s, as in config.yaml (only asked for by name, or on a GPU).

The first steps are warm-up and not counted. Prints a table in Markdown.

    python benchmarks/train.py                           # small model, any machine
    python benchmarks/train.py --model 0.6b --steps 60   # a GPU
    python benchmarks/train.py --padding                 # padding alone, seconds
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
# In place of this folder, whose coverage.py would hide the package that numba asks for.
sys.path[0] = str(SCRIPTS)

CONTEXTS = {
    "contexts": [[70, 13], [70, 6], [70, 1], [70, 0]],
    "context_probs": [0.25, 0.25, 0.25, 0.25],
}
MODELS = {
    "small": {
        **{
            "n_layers": 2,
            "d_model": 128,
            "n_heads": 4,
            "conv_kernel_size": 9,
            "subsampling_channels": 32,
            "features": 80,
        },
        **{"pred_hidden": 128, "joint_hidden": 128, **CONTEXTS},
    },
    # Shapes of nemotron-speech-streaming-en-0.6b.
    "0.6b": {
        **{
            "n_layers": 24,
            "d_model": 1024,
            "n_heads": 8,
            "conv_kernel_size": 9,
            "subsampling_channels": 256,
            "features": 128,
        },
        **{"pred_hidden": 640, "pred_layers": 2, "joint_hidden": 640, "dropout": 0.2, **CONTEXTS},
    },
}
VOCABULARY = {"small": 128, "0.6b": 1024}
UTTERANCES = 16  # a batch of NeMo's example
FIXED_BINS = [2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20]  # of config.yaml
FUSED = 4  # utterances that joint and loss of the example take at a time
# Dense bf16 peak, TFLOP/s, of the SXM forms: vendors' data sheets.
BF16_PEAK = {"H200": 989, "H100": 989, "A100": 312, "B200": 2250, "L40S": 362}
_SYLLABLES = [
    "da",
    "ge",
    "ver",
    "en",
    "mo",
    "ti",
    "ka",
    "lu",
    "schö",
    "frü",
    "wä",
    "stra",
    "ße",
    "ten",
    "mus",
    "bis",
    "kon",
    "re",
    "wi",
    "no",
    "al",
    "ein",
    "pro",
    "ste",
]


def durations(count: int, draw: random.Random) -> list[float]:
    """Seconds: half like Common Voice (log-normal around 4.5 s, at most 12), half like MLS (10 to
    20 s, evenly)."""
    made = []
    for number in range(count):
        seconds = (
            draw.uniform(10, 20)
            if number % 2
            else min(12.0, max(1.0, draw.lognormvariate(1.5, 0.4)))
        )
        made.append(round(seconds, 2))
    draw.shuffle(made)
    return made


def sentence(seconds: float, draw: random.Random) -> str:
    """About 14 characters a second."""
    words, length = [], 0
    while length < 14 * seconds:
        words.append("".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))))
        length += len(words[-1]) + 1
    return " ".join(words)


def material(folder: Path, count: int, vocabulary: int) -> dict[str, str]:
    """Audio, a manifest for each side, and a tokenizer."""
    import numpy as np
    import soundfile

    from warmstart.data import cut_lines, tokenizer

    draw = random.Random(1)
    lengths = durations(count, draw)
    texts = [sentence(seconds, draw) for seconds in lengths]
    noise = np.random.default_rng(1).standard_normal(20 * 16000).astype("float32") * 0.05
    nemo, ours = folder / "nemo.json", folder / "ours.jsonl.gz"
    with open(nemo, "w", encoding="utf-8") as lines, cut_lines.writing(ours) as stream:
        for number, (seconds, text) in enumerate(zip(lengths, texts, strict=True)):
            samples, path = round(seconds * 16000), folder / f"{number}.flac"
            soundfile.write(path, np.roll(noise, number * 997)[:samples], 16000)
            seconds = samples / 16000
            lines.write(
                json.dumps({"audio_filepath": str(path), "duration": seconds, "text": text}) + "\n"
            )
            cut_id = f"cut-{number:06d}"
            span = {"start": 0, "duration": seconds, "channel": 0}
            recording = {
                "id": cut_id,
                "sources": [{"type": "file", "channels": [0], "source": str(path)}],
            }
            recording |= {
                "sampling_rate": 16000,
                "num_samples": samples,
                "duration": seconds,
                "channel_ids": [0],
            }
            supervision = {
                "id": cut_id,
                "recording_id": cut_id,
                "text": text,
                "language": "de",
                **span,
            }
            cut = {
                "id": cut_id,
                "type": "MonoCut",
                **span,
                "supervisions": [supervision],
                "recording": recording,
            }
            stream.write(cut_lines.line(cut | {"custom": {"block": "one", "corpus": "made"}}))
    tokenizer.train(texts, folder / "tokenizer", vocabulary)
    return {
        **{
            "nemo": str(nemo),
            "ours": str(ours),
            "tokenizer": str(folder / "tokenizer"),
            "hours": sum(lengths) / 3600,
        },
        "mean_s": sum(lengths) / count,
    }


def padding_table(count: int) -> None:
    """Print what of an epoch is padding, by how batches are made; nothing is computed."""
    from warmstart.data import cut_lines
    from warmstart.training import order

    draw = random.Random(1)
    lengths = durations(count, draw)
    batches = [lengths[first : first + UTTERANCES] for first in range(0, count, UTTERANCES)]
    rows = [(f"NeMo's example: {UTTERANCES} utterances", batches)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuts.jsonl.gz"
        with cut_lines.writing(path) as stream:
            for number, seconds in enumerate(lengths):
                cut = {"id": f"cut-{number:06d}", "type": "MonoCut", "start": 0, "channel": 0}
                source = {"type": "file", "channels": [0], "source": "none.wav"}
                recording = {"id": cut["id"], "sources": [source], "sampling_rate": 16000}
                recording |= {"num_samples": round(16000 * seconds), "duration": seconds}
                cut |= {"duration": seconds, "supervisions": [], "recording": recording}
                stream.write(cut_lines.line(cut))
        for batch_s in (160, 600):
            for name, bins in (("12 fixed buckets", FIXED_BINS), ("30 from the data", 30)):
                recipe: Any = {"batch_duration_s": batch_s, "bucket_bins_s": bins}
                sampler = order.batch_sampler(path, recipe | {"speed_perturb": []}, 1, 16000)
                made = [[cut.duration for cut in batch] for batch in sampler]
                rows.append((f"{batch_s} s, {name}", made))
    print("| batches | batches an epoch | padding |\n| --- | --- | --- |")
    for name, batches in rows:
        padded = sum(len(batch) * max(batch) for batch in batches)
        print(f"| {name} | {len(batches)} | {100 * (1 - sum(lengths) / padded):.1f} % |")


def build(made: dict[str, Any], settings: dict[str, Any]) -> Any:
    """The transducer with random weights, the same for all variants."""
    from warmstart.models import open_family

    return open_family("fastconformer_rnnt").build(
        None, settings, tokenizer=Path(made["tokenizer"]), seed=1, steps=10**6
    )


def run(
    variant: str, name: str, made: dict[str, Any], steps: int, warmup: int, workers: int
) -> dict[str, Any]:
    """Train, in this process; audio hours per hour of the steps after the warm-up, padding share,
    peak memory."""
    import lightning.pytorch as pl
    import torch

    from warmstart.study.stages import filled
    from warmstart.training import loop

    on_gpu = torch.cuda.is_available()
    precision = "bf16-mixed" if on_gpu else "32"
    batch_s = 600 if variant == "ours_600" else UTTERANCES * made["mean_s"]
    settings = {
        **{
            "optimizer": {"name": "adamw", "lr": 1e-4},
            "schedule": {"name": "cosine", "warmup_steps": 10},
        },
        **{
            "batch_duration_s": batch_s,
            "bucket_bins_s": 30 if variant == "ours_30" else [2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18],
            "joint_mb": 60 if variant == "ours_30" else None,
            "precision": precision,
        },
        **{"num_workers": workers, "log_every_steps": 1, "checkpoint_every_steps": 10**6},
    }
    masks = {"freq_masks": 2, "freq_width": 27, "time_masks": 10, "time_width": 0.05}
    settings = filled("train", settings | {"model": MODELS[name], "spec_augment": masks})
    recogniser = build(made, settings)
    model = recogniser.lightning

    class Clock(pl.Callback):
        """Counts as `Recorder` does, for the side that has none."""

        def __init__(self) -> None:
            self.rows: list[tuple[float, float, float, int]] = []

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            float(outputs["loss"])
            shape = batch[0].shape
            self.rows.append(
                (
                    time.monotonic(),
                    float(batch[1].sum()) / 16000,
                    shape[0] * shape[1] / 16000,
                    int(batch[3].sum()),
                )
            )

    clock = Clock()
    if variant == "nemo":
        theirs(model)
    if variant.startswith("ours"):
        with tempfile.TemporaryDirectory() as folder:
            loop.fit(
                recogniser,
                made["ours"],
                settings,
                steps=steps,
                seed=1,
                run_dir=Path(folder),
                total_hours=made["hours"],
                callbacks=[clock],
            )
    else:
        model.setup_training_data(
            {
                **{
                    "manifest_filepath": made["nemo"],
                    "sample_rate": 16000,
                    "batch_size": UTTERANCES,
                    "shuffle": True,
                },
                **{
                    "num_workers": workers,
                    "pin_memory": on_gpu,
                    "max_duration": 20,
                    "min_duration": 0.1,
                },
            }
        )
        trainer = pl.Trainer(
            **{
                "accelerator": "gpu" if on_gpu else "cpu",
                "devices": 1,
                "max_steps": steps,
                "max_epochs": -1,
            },
            **{
                "precision": precision if on_gpu else "32-true",
                "callbacks": [clock],
                "logger": False,
            },
            **{
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "enable_checkpointing": False,
            },
            **{
                "num_sanity_val_steps": 0,
                "limit_val_batches": 0,
                "log_every_n_steps": 10,
                "use_distributed_sampler": False,
            },
        )
        model.set_trainer(trainer)
        trainer.fit(model)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if on_gpu:
        peak_mb = torch.cuda.max_memory_allocated() / 2**20
    counted = clock.rows[warmup:]
    elapsed_s = counted[-1][0] - clock.rows[warmup - 1][0]
    audio_s, padded_s = sum(row[1] for row in counted), sum(row[2] for row in counted)
    return {
        "variant": variant,
        "hours_per_hour": audio_s / elapsed_s,
        "tokens_per_s": sum(row[3] for row in counted) / elapsed_s,
        "step_ms": 1000 * elapsed_s / len(counted),
        "audio_s_per_step": audio_s / len(counted),
        "padding_share": 1 - audio_s / padded_s,
        "peak_mb": peak_mb,
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "tflops_per_audio_s": flops(model) / 1e12,
    }


def theirs(model: Any) -> None:
    """Joint and loss as in NeMo's example, in place of ours."""
    from nemo.collections.asr.losses.rnnt import RNNTLoss

    model.joint.log_softmax = None
    model.loss = RNNTLoss(num_classes=model.joint.num_classes_with_blank - 1)
    model.joint.set_fused_batch_size(FUSED)
    model.joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)


def flops(model: Any) -> float:
    """Floating-point operations of forward and backward per second of audio, counted by torch on
    one utterance of 15 s.

    The LSTM of the predictor and the loss kernel are not counted.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    seconds, device = 15, "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    # In some steps NeMo decodes the batch: not in this one.
    model._trainer = SimpleNamespace(log_every_n_steps=10**9, global_step=0)
    tokens = torch.randint(0, 100, (1, 4 * seconds), device=device)
    batch = (
        torch.randn(1, seconds * 16000, device=device),
        torch.tensor([seconds * 16000], device=device),
    )
    model.log_dict = lambda *_, **__: None  # Lightning refuses records from outside its loop
    counter = FlopCounterMode(display=False)
    with counter, torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        model.training_step((*batch, tokens, torch.tensor([4 * seconds], device=device)), 0)[
            "loss"
        ].backward()
    return counter.get_total_flops() / seconds


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=800, help="how many are made")
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        help="processes that load audio; default: 6 with a GPU, else 0",
    )
    parser.add_argument("--variants", nargs="+", default=None)
    parser.add_argument(
        "--repeats", type=int, default=1, help="times each variant runs, in turn; the median counts"
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the rows here")
    parser.add_argument("--padding", action="store_true", help="print padding alone, of 5000 cuts")
    parser.add_argument("--only", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.padding:
        padding_table(5000)
        return
    if arguments.only:
        job = json.loads(arguments.only)
        print("RESULT " + json.dumps(run(**job)))
        return

    import torch

    on_gpu = torch.cuda.is_available()
    workers = arguments.workers if arguments.workers is not None else (6 if on_gpu else 0)
    variants = arguments.variants or (
        ["nemo", "nemo_our_loss", "ours", "ours_30", "ours_600"]
        if on_gpu
        else ["nemo_our_loss", "ours", "ours_30"]
    )
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    with tempfile.TemporaryDirectory() as folder:
        made = material(Path(folder), arguments.utterances, VOCABULARY[arguments.model])
        print(
            f"{arguments.utterances} utterances, {made['hours']:.2f} h, mean {made['mean_s']:.1f} "
            "s",
            file=sys.stderr,
        )
        for _ in range(arguments.repeats):
            for variant in variants:
                job = {
                    "variant": variant,
                    "name": arguments.model,
                    "made": made,
                    "workers": workers,
                }
                job |= {"steps": arguments.steps, "warmup": arguments.warmup}
                command = [sys.executable, __file__, "--only", json.dumps(job)]
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    env=os.environ | {"HF_HUB_OFFLINE": "1"},
                )
                result = next(
                    (line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")),
                    None,
                )
                if result is None:
                    # NeMo's loss does not run on every GPU machine (it needs numba-cuda and
                    # libNVVM): the others still count.
                    print(f"{variant} failed:\n{done.stderr[-3000:]}", file=sys.stderr)
                    break
                found[variant].append(json.loads(result))
                print(found[variant][-1], file=sys.stderr)
    rows = [
        sorted(runs, key=lambda row: row["hours_per_hour"])[len(runs) // 2]
        for runs in found.values()
        if runs
    ]
    if not rows:
        raise SystemExit("no variant ran")
    baseline = next(
        (row["hours_per_hour"] for row in rows if row["variant"].startswith("nemo")), None
    )
    peak = next((value for name, value in BF16_PEAK.items() if name in rows[0]["device"]), None)
    print(f"\n{arguments.model} model, {rows[0]['device']}, {torch.get_num_threads()} threads\n")
    print(
        "| variant | audio h / h | ratio | tokens / s | s of audio a step | ms a step | padding | "
        "peak MB | of bf16 peak |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        ratio = f"{row['hours_per_hour'] / baseline:.2f}" if baseline else "-"
        share = (
            f"{100 * row['tflops_per_audio_s'] * row['hours_per_hour'] / peak:.0f} %"
            if peak and on_gpu
            else "-"
        )
        print(
            f"| {row['variant']} | {row['hours_per_hour']:.0f} | {ratio} | "
            f"{row['tokens_per_s']:.0f} | {row['audio_s_per_step']:.0f} "
            f"| {row['step_ms']:.0f} | "
            f"{100 * row['padding_share']:.1f} % | {row['peak_mb']:.0f} | {share} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
