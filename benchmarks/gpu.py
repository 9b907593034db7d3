"""What a GPU does with the 0.6 B model: one command, some minutes, no network, no file but the
checkout.

The architecture of nemotron-speech-streaming-en-0.6b with random weights hears noise. Sections, in
this order, until `--minutes` are over; one that had no time says so, and so does one that failed:

- losses: the loss of one batch on the CPU in float32, and on the device in each arithmetic;
- learn: steps over one batch in each `training.precision`; the loss falls and stays a number;
- profile: utterances of each bucket that fit, by precision and `training.joint_mb`;
- speed: audio hours trained an hour, share of the bf16 peak, peak memory, for the settings of
  config.yaml and for those of this workflow that fill a GPU;
- decode: RTFx by tier, batch and arithmetic (float32, TF32, bf16 by autocast), and tokens beside
  those of the CPU in float32;
- int4: dequantised weights on the device beside the graph in ONNX Runtime (2 layers).

Prints tables in Markdown. `--json` is written after every section, so that nothing is lost.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --tiny --device cpu
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# In place of this folder, whose coverage.py would hide the package that numba asks for.
sys.path[0] = str(HERE.parent / "workflow" / "scripts")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

TIERS = {"80ms": (70, 0), "160ms": (70, 1), "560ms": (70, 6), "1120ms": (70, 13)}
PRECISIONS = ("32", "bf16-mixed", "bf16-true")
MASKS = {"freq_masks": 2, "freq_width": 27, "time_masks": 10, "time_width": 0.05}
BINS_S = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]
TOKENS_PER_S = 5  # of 1024 pieces, read speech
FULL = {
    "model": "0.6b",
    "batch_s": 600.0,
    "joint_mb": 4000.0,
    "steps": 20,
    "warmup": 5,
    "loss_s": [4.0, 5.0, 6.0, 7.0],
    "buckets_s": [2.0, 5.0, 10.0, 15.0, 20.0],
    "decode": {"utterances": 256, "reference": 4, "batches": [1, 32, 256]},
    "tiers": list(TIERS),
}
TINY = {
    "model": "small",
    "batch_s": 12.0,
    "joint_mb": 2.0,
    "steps": 6,
    "warmup": 2,
    "loss_s": [1.0, 1.5],
    "buckets_s": [1.0, 2.0],
    "decode": {"utterances": 3, "reference": 2, "batches": [2]},
    "tiers": ["160ms"],
}


def benchmark_of_training() -> Any:
    """benchmarks/train.py as a module: its models, texts, and counter of operations."""
    spec = importlib.util.spec_from_file_location("benchmark_train", HERE / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench:
    """One run of all sections.

    Args:
        size: `FULL` or `TINY`.
        folder: for files.
    """

    def __init__(self, size: dict[str, Any], folder: Path):
        import torch

        from warmstart.data import tokenizer
        from warmstart.models import open_family
        from warmstart.study.stages import filled

        self.size, self.folder, self.train = size, folder, benchmark_of_training()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        draw = random.Random(1)
        texts = [self.train.sentence(8, draw) for _ in range(400)]
        tokenizer.train(texts, folder / "tokenizer", self.train.VOCABULARY[size["model"]])
        self.settings = filled(
            "train",
            {
                "model": self.train.MODELS[size["model"]],
                "optimizer": {"name": "adamw", "lr": 3e-4},
                "schedule": {"name": "cosine", "warmup_steps": 1},
                "steps": {"fixed": 1000},
                "batch_duration_s": size["batch_s"],
                "bucket_bins_s": BINS_S,
                "spec_augment": MASKS,
            },
        )
        self.family = open_family("fastconformer_rnnt")
        self.made = self.build(self.settings)
        # Every section begins with these weights.
        self.start = {name: value.clone() for name, value in self.made.model.state_dict().items()}

    def build(self, settings: Any) -> Any:
        """A model with random weights."""
        return self.family.build(
            None, settings, tokenizer=self.folder / "tokenizer", seed=1, steps=1000
        )

    def fresh(self, precision: str, joint_mb: float | None) -> tuple[Any, Any]:
        """The model as it began, and settings to train it with."""
        from warmstart.models.fastconformer import loss

        self.made.model.to("cpu").float().load_state_dict(self.start)
        self.made.model.train()
        self.made.model.zero_grad(set_to_none=True)
        self.made.model.__dict__.pop("log", None)
        loss.use_fast_loss(self.made.model, joint_mb)
        return self.made, self.settings | {"precision": precision, "joint_mb": joint_mb}

    def batch(self, lengths_s: list[float], seed: int = 1) -> Any:
        """Utterances of noise with random texts."""
        import torch

        from warmstart.models.batches import Batch

        draw = torch.Generator().manual_seed(seed)
        samples = torch.tensor([round(16000 * length) for length in lengths_s])
        audio = 0.1 * torch.randn(len(lengths_s), int(samples.max()), generator=draw)
        audio *= torch.arange(audio.shape[1]) < samples[:, None]
        counts = (TOKENS_PER_S * samples / 16000).long().clamp(min=1)
        most = self.train.VOCABULARY[self.size["model"]]
        tokens = torch.randint(0, most, (len(lengths_s), int(counts.max())), generator=draw)
        return Batch(audio, samples, tokens, counts)

    def fit(
        self, recogniser: Any, settings: Any, batches: list[Any]
    ) -> tuple[list[float], list[float]]:
        """Train over batches; the loss of each step, and the seconds from each one's end to the
        next one's."""
        import lightning.pytorch as pl
        import torch

        from warmstart.training import loop
        from warmstart.training.distributed import Ranks

        losses, ends = [], []

        class Clock(pl.Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
                losses.append(float(outputs["loss"]))  # waits for the device
                ends.append(time.perf_counter())

        trainer = loop.trainer_of(
            settings, len(batches), Ranks(), self.folder, recogniser, [Clock()]
        )
        loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        recogniser.before_fit(trainer, loader)
        trainer.fit(recogniser.lightning, loader)
        return losses, [one - other for other, one in itertools.pairwise(ends)]

    def peak_gb(self) -> float | None:
        """Most memory since the last call, 10^9 bytes; None without a GPU."""
        import torch

        if self.device == "cpu":
            return None
        peak = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return round(peak, 2)

    # ---- sections: each gives its rows as they come

    def losses(self) -> Any:
        """One batch in evaluation mode, without dropout and masks."""
        import torch

        batch, exact = self.batch(self.size["loss_s"]), None
        places = [("cpu", "32")] + [(self.device, precision) for precision in PRECISIONS]
        for device, precision in places:
            made, _ = self.fresh("32", self.size["joint_mb"])
            model = made.model.to(device).eval()
            with torch.no_grad(), arithmetic(made, device, precision):
                value = made.evaluate(batch.to(device))[0]
            exact = value if exact is None else exact
            yield {
                "device": device,
                "precision": precision,
                "loss": value,
                "relative_difference": abs(value / exact - 1),
            }
            del model

    def learn(self) -> Any:
        """Steps over one batch."""
        import math

        batch = self.batch(self.size["loss_s"])
        for precision in PRECISIONS:
            recogniser, settings = self.fresh(precision, self.size["joint_mb"])
            found, _ = self.fit(recogniser, settings, [batch] * self.size["steps"])
            yield {
                "precision": precision,
                "first_loss": found[0],
                "last_loss": found[-1],
                "finite": all(map(math.isfinite, found)),
                "falls": found[-1] < found[0],
                "peak_gb": self.peak_gb(),
            }

    def counts(self, precision: str, joint_mb: float | None) -> list[int]:
        """Utterances of each bucket that fit."""
        from warmstart.training import loop, profiling
        from warmstart.training.distributed import Ranks

        recogniser, settings = self.fresh(precision, joint_mb)
        lengths_s = self.size["buckets_s"]
        tokens = [round(TOKENS_PER_S * length) for length in lengths_s]
        most_s = profiling.MOST_SECONDS if self.device == "cuda" else self.size["batch_s"]
        search = profiling.Search(recogniser, lengths_s, tokens, most_s)
        trainer = loop.trainer_of(settings, 1, Ranks(), self.folder, recogniser, [search])
        loader = [self.batch([1.0])]
        recogniser.before_fit(trainer, loader)
        with contextlib.suppress(profiling.Found):
            trainer.fit(recogniser.lightning, loader)
        return search.counts

    def profile(self) -> Any:
        """Largest batch of each bucket."""
        rows = [("bf16-mixed", None), ("bf16-mixed", self.size["joint_mb"])]
        for precision, joint_mb in [*rows, ("bf16-true", self.size["joint_mb"])]:
            found = self.counts(precision, joint_mb)
            self.fitting = found  # of the last row
            named = zip(self.size["buckets_s"], found, strict=True)
            yield {
                "precision": precision,
                "joint_mb": joint_mb,
                **{f"{length:g} s": count for length, count in named},
            }
            self.peak_gb()

    def batches(self, counts: list[int] | None, seed: int = 1) -> list[Any]:
        """Batches of one bucket each, as often as its audio asks for: of `batch_s` seconds, or of
        as many utterances as fit."""
        draw, made = random.Random(seed), []
        lengths = sorted(self.train.durations(2000, draw))
        while len(made) < self.size["steps"]:
            # The longest of a batch, drawn by audio: buckets hold equal shares of it.
            longest = draw.choices(lengths, lengths)[0]
            bucket = [one for one in lengths if 0.85 * longest <= one <= longest]
            if counts is None:
                count = int(self.size["batch_s"] / longest)
            else:
                bounds = self.size["buckets_s"]
                place = next((p for p, top in enumerate(bounds) if longest <= top), -1)
                count = counts[place]
            made.append(self.batch(draw.choices(bucket, k=max(1, count)), seed + len(made)))
        return made

    def speed(self) -> Any:
        """Steps over batches of many lengths."""
        flops = self.train.flops(self.fresh("32", self.size["joint_mb"])[0].model)
        self.made.model.__dict__.pop("log_dict", None)
        peak = next(
            (value for name, value in self.train.BF16_PEAK.items() if name in device_name()), None
        )
        given = getattr(self, "fitting", None)
        rows = [
            ("config.yaml", "bf16-mixed", None, None),
            ("joint_mb", "bf16-mixed", self.size["joint_mb"], None),
            ("bf16-true", "bf16-true", self.size["joint_mb"], None),
            *([("profile", "bf16-true", self.size["joint_mb"], given)] if given else []),
        ]
        for name, precision, joint_mb, counts in rows:
            recogniser, settings = self.fresh(precision, joint_mb)
            batches = self.batches(counts)
            self.peak_gb()
            found, took = self.fit(recogniser, settings, batches)
            warm = self.size["warmup"]
            audio_s = sum(float(batch.audio_len.sum()) for batch in batches[warm:]) / 16000
            hours = audio_s / sum(took[warm - 1 :])
            yield {
                "settings": name,
                "precision": precision,
                "joint_mb": joint_mb,
                "seconds_a_batch": audio_s / (len(batches) - warm),
                "hours_per_hour": hours,
                "of_bf16_peak": hours * flops / 1e12 / peak if peak else None,
                "last_loss": found[-1],
                "peak_gb": self.peak_gb(),
            }

    def decode(self) -> Any:
        """RTFx, and tokens beside the CPU's."""
        import torch

        from warmstart.models.fastconformer.decoder import Decoder
        from warmstart.models.tier import Tier

        asked = self.size["decode"]
        draw = random.Random(2)
        lengths = [draw.uniform(2, 10) for _ in range(asked["utterances"])]
        batch = self.batch(lengths, seed=7)
        waveforms = [
            samples[: int(count)].numpy()
            for samples, count in zip(batch.audio, batch.audio_len, strict=True)
        ]
        made, _ = self.fresh("32", self.size["joint_mb"])
        model = made.model.eval()
        make_talkative(model, self.batch([5.0, 5.0]))
        reference = {}
        for name in self.size["tiers"]:
            decoder = Decoder(model, Tier(name, *TIERS[name]))
            reference[name] = decoder.search(waveforms[: asked["reference"]])
        model.to(self.device)
        for name in self.size["tiers"]:
            for how in ("float32", "tf32", "bf16"):
                for size in asked["batches"]:
                    with decoding_arithmetic(self.device, how), torch.inference_mode():
                        decoder = Decoder(model, Tier(name, *TIERS[name]))
                        heard = waveforms[: max(4 * size, asked["reference"])]
                        decoder.search(heard[:size])  # unmeasured
                        self.peak_gb()
                        began, found = time.perf_counter(), []
                        for first in range(0, len(heard), size):
                            found += decoder.search(heard[first : first + size])
                        took = time.perf_counter() - began
                    pairs = zip(found, reference[name], strict=False)
                    yield {
                        "tier": name,
                        "arithmetic": how,
                        "batch": size,
                        "rtfx": sum(map(len, heard)) / 16000 / took,
                        "same_tokens": sum(one.tokens == other.tokens for one, other in pairs),
                        "of": len(reference[name]),
                        "tokens": sum(len(one.tokens) for one in found),
                        "peak_gb": self.peak_gb(),
                    }

    def int4(self) -> Any:
        """Dequantised weights in PyTorch beside ONNX Runtime with the 4-bit graph."""
        from warmstart.export import encoder
        from warmstart.export.scheme import Scheme
        from warmstart.models import quantised_weights
        from warmstart.models.base import EncoderFile
        from warmstart.models.fastconformer.decoder import Decoder
        from warmstart.models.tier import Tier

        shallow = self.settings | {"model": self.settings["model"] | {"n_layers": 2}}
        made = self.build(shallow)
        make_talkative(made.model.eval(), self.batch([5.0, 5.0]))
        path, graph = self.folder / "model.nemo", self.folder / "encoder.onnx"
        made.save(path)
        tier = Tier("560ms", *TIERS["560ms"])
        scheme = Scheme.from_json({"scheme": "rtn", "bits": 4, "block_size": 32})
        report = encoder.build(path, tier, "int4", scheme, graph)
        batch = self.batch([3.0, 4.0, 5.0], seed=9)
        waveforms = [
            samples[: int(count)].numpy()
            for samples, count in zip(batch.audio, batch.audio_len, strict=True)
        ]
        by_graph = self.family.load(path).decoder(tier, EncoderFile(graph)).logits(waveforms)
        model = self.family.load(path, self.device).model
        quantised_weights.load(model.encoder, graph)
        for how in ("float32", "tf32", "bf16"):
            with decoding_arithmetic(self.device, how):
                found = Decoder(model, tier).logits(waveforms)
            pairs = [
                (one.float().cpu(), other.float())
                for one, other in zip(found, by_graph, strict=True)
            ]
            frames = sum(len(one) for one, _ in pairs)
            yield {
                "arithmetic": how,
                "largest_difference": max(float((a - b).abs().max()) for a, b in pairs),
                "same_labels": sum(int((a.argmax(1) == b.argmax(1)).sum()) for a, b in pairs)
                / frames,
                "frames": frames,
                "parity_on_cpu": report["parity"]["max_abs"],
            }


def device_name() -> str:
    """Of the device."""
    from warmstart.training import batch_profile

    return batch_profile.device_name()


@contextlib.contextmanager
def arithmetic(made: Any, device: str, precision: str) -> Any:
    """Forward passes as a training of `precision` has them; on a CPU, float32."""
    import torch

    from warmstart.training import precision as precisions

    if device == "cpu" or precision == "32":
        yield
    elif precision == precisions.WEIGHTS:
        precisions.Bfloat16Weights(made.kept_in_float32()).convert_module(made.lightning)
        yield
    else:
        with torch.autocast(device, torch.bfloat16):
            yield


@contextlib.contextmanager
def decoding_arithmetic(device: str, how: str) -> Any:
    """float32, TF32 in products, or bf16 by autocast."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if how == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = how == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=how == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def make_talkative(model: Any, batch: Any) -> None:
    """Bias the blank so that about a fourth of frames emit: a random transducer says nothing, or
    everything."""
    import torch

    with torch.inference_mode():
        encoded, _ = model.forward(input_signal=batch.audio, input_signal_length=batch.audio_len)
        predicted, *_ = model.decoder(targets=batch.tokens, target_length=batch.token_len)
        scores = model.joint.joint(
            encoded.transpose(1, 2)[:, :40], predicted.transpose(1, 2)[:, :8]
        )
        margin = scores[..., :-1].amax(-1) - scores[..., -1]
        model.joint.joint_net[-1].bias[-1] += torch.quantile(margin.flatten(), 0.75)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        return "-" if value is None else str(value)

    lines = [f"| {' | '.join(rows[0])} |", "| " + "--- | " * len(rows[0])]
    return "\n".join([*lines, *(f"| {' | '.join(map(cell, row.values()))} |" for row in rows)])


SECTIONS = ("losses", "learn", "profile", "speed", "decode", "int4")


def about() -> dict[str, Any]:
    """When, on what, with what."""
    import torch

    from warmstart.training import record

    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": device_name(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        **record.hardware(),
        "versions": record.versions(),
    }


def run(size: dict[str, Any], chosen: list[str], minutes: float, output: Path | None) -> bool:
    """All sections; whether none failed."""
    began, good = time.monotonic(), True
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(size, Path(folder))
        report: dict[str, Any] = {"about": about(), "built_s": round(time.monotonic() - began, 1)}
        print(json.dumps(report["about"]))
        for name in chosen:
            rows, section = [], time.monotonic()
            said = {"rows": rows}
            report[name] = said
            try:
                for row in getattr(bench, name)() if section - began < 60 * minutes else ():
                    rows.append(row)
                    if time.monotonic() - began > 60 * minutes:
                        said["stopped"] = f"{minutes:g} minutes were over"
                        break
                else:
                    if not rows:
                        said["stopped"] = f"not begun: {minutes:g} minutes were over"
            except Exception as error:  # the others still count
                good, said["failed"] = False, f"{type(error).__name__}: {error}"
                traceback.print_exc()
            said["s"] = round(time.monotonic() - section, 1)
            print(f"\n## {name}\n")
            if rows:
                print(table(rows))
            for key in ("stopped", "failed"):
                if key in said:
                    print(f"\n{key}: {said[key]}")
            sys.stdout.flush()
            if output is not None:
                output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return good


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a small model and little of all")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=8, help="no row begins after them")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path, default=None, help="also write the rows here")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU is seen here; --tiny --device cpu tries the program without one")
    size = TINY if arguments.tiny else FULL
    if not run(size, arguments.sections, arguments.minutes, arguments.json):
        raise SystemExit("a section failed")


if __name__ == "__main__":
    main()
