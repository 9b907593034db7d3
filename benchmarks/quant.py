"""Speed and size of a streaming encoder on the CPU: PyTorch, ONNX float32, int8, int4, int4 with
int8 activations, in one run.

One stream, chunk after chunk at 560 ms ([70, 6]) with full caches; RTFx = 0.56 s / median time of a
chunk, encoder only. Without --model the encoder has the architecture of the public 0.6 B models and
random weights: neither speed nor size depend on their values. Every step is a process of its own,
so that memory is given back: 6 GB at the peak for 0.6 B.

    python benchmarks/quant.py --layers 2                # the same layers, fewer: a minute
    python benchmarks/quant.py                           # 0.6 B; k_quant takes minutes
    python benchmarks/quant.py --model results/runs/it/ml/0.32h/seed1/model.nemo
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In the place of this folder, whose coverage.py numba would take for the package of that name.
sys.path[:1] = [str(ROOT / "workflow" / "scripts")]

from warmstart.models.tier import Tier  # noqa: E402

TIER = Tier("560ms", 70, 6)
CHUNK_S = 0.56
# Of arXiv 2604.14493 (EPYC 7V12, one stream at 560 ms, 0.6 B, transducer included): RTFx and GB.
COMPANION = {
    "onnx fp32": (6.73, 2.47),
    "int8": (7.25, 1.28),
    "int4": (7.20, 0.67),
    "int4 rtn": (7.30, 0.66),
}
SCHEMES = {
    "onnx fp32": {"scheme": "fp32"},
    "int8": {"scheme": "k_quant", "bits": 8},
    "int4": {"scheme": "k_quant"},
    "int4 rtn": {"scheme": "rtn"},
    "int4 rtn block 128": {"scheme": "rtn", "block_size": 128},
}


def load_encoder(model: Path | None, layers: int):
    """The encoder of a model, or a random one of the public models' kind."""
    import torch

    from warmstart.models.fastconformer import load

    if model is not None:
        return load.load_model(model).encoder
    from nemo.collections.asr.modules import ConformerEncoder
    from nemo.core.classes.common import typecheck

    typecheck.set_typecheck_enabled(False)
    torch.manual_seed(1)
    return ConformerEncoder(
        feat_in=128,
        n_layers=layers,
        d_model=1024,
        n_heads=8,
        use_bias=False,
        subsampling="dw_striding",
        subsampling_factor=8,
        subsampling_conv_channels=256,
        causal_downsampling=True,
        ff_expansion_factor=4,
        self_attention_model="rel_pos",
        att_context_size=[[70, 13], [70, 6], [70, 1], [70, 0]],
        att_context_style="chunked_limited",
        xscaling=False,
        conv_kernel_size=9,
        conv_norm_type="layer_norm",
        conv_context_size="causal",
    ).eval()


def export(model: Path | None, layers: int, path: Path) -> tuple[int, int]:
    """Write the float32 graph; parameters of the encoder, mel bins."""
    from warmstart.models.fastconformer import onnx_export

    encoder = load_encoder(model, layers)
    save(onnx_export.export(encoder, TIER), path)
    return sum(parameter.numel() for parameter in encoder.parameters()), encoder._feat_in


def save(graph, path: Path) -> int:
    """Write a graph as `streaming.OnnxEncoder` wants it; its bytes."""
    import json

    from warmstart.models import onnx_file

    onnx_file.set_metadata(
        graph, {"warmstart_form": "native", "warmstart_context": json.dumps(TIER.context)}
    )
    return onnx_file.save(graph, path)


def quantize(source: Path, scheme: dict, path: Path) -> tuple[int, float]:
    """Bytes and seconds."""
    import onnx

    from warmstart.export import matmul_nbits
    from warmstart.export.scheme import Scheme

    started = time.perf_counter()
    written = save(matmul_nbits.quantize(onnx.load(str(source)), Scheme.from_json(scheme)), path)
    return written, time.perf_counter() - started


def with_int8_activations(source: Path, path: Path) -> int:
    """The same packed weights with `accuracy_level` 4, which is all that the setting changes in a
    graph; bytes."""
    import onnx

    graph = onnx.load(str(source))
    for node in graph.graph.node:
        if node.op_type == "MatMulNBits":
            kept = [attribute for attribute in node.attribute if attribute.name != "accuracy_level"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("accuracy_level", 4)])
    return save(graph, path)


def chunk_seconds(step, features: int, chunks: int) -> float:
    """Median wall time of a chunk with full caches."""
    import torch

    caches = step.start(1)
    times = []
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        # 10 chunks of 7 frames fill a cache of 70.
        for number in range(11 + chunks):
            size, dropped = (49, 0) if number == 0 else (65, 2)
            chunk = torch.randn(1, features, size, generator=generator) * 4 - 6
            started = time.perf_counter()
            _, _, caches = step.step(chunk, torch.tensor([size]), dropped, caches)
            if number > 10:
                times.append(time.perf_counter() - started)
    return statistics.median(times)


class NemoSteps:
    """NeMo's own `cache_aware_stream_step`, as the public scripts run it."""

    def __init__(self, encoder):
        self._encoder = encoder

    def start(self, batch):
        """Zero caches."""
        return self._encoder.get_initial_cache_state(batch_size=batch)

    def step(self, chunk, lengths, dropped, caches):
        """As `streaming.Encoder.step`."""
        encoded, counts, *caches = self._encoder.cache_aware_stream_step(
            chunk, lengths, *caches, True, dropped
        )
        return encoded, counts, caches


def time_pytorch(model: Path | None, layers: int, threads: int, chunks: int) -> tuple[float, float]:
    """Seconds a chunk: NeMo's step, ours."""
    import torch

    from warmstart.models.fastconformer.chunks import set_tier
    from warmstart.models.fastconformer.streaming_encoder import EncoderSteps

    torch.set_num_threads(threads)
    encoder = load_encoder(model, layers)
    set_tier(encoder, TIER)
    return tuple(
        chunk_seconds(step, encoder._feat_in, chunks)
        for step in (NemoSteps(encoder), EncoderSteps(encoder))
    )


def time_onnx(path: Path, features: int, threads: int, chunks: int) -> float:
    """Seconds a chunk."""
    from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder

    return chunk_seconds(OnnxEncoder(path, TIER, threads=threads), features, chunks)


def apart(function, *arguments):
    """Run in a fresh process; its result and its peak memory in GB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (function, arguments))


def _with_peak(function, arguments):
    result = function(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a .nemo; default: random weights")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), choices=list(SCHEMES))
    arguments = parser.parse_args()
    of_encoder = (arguments.model, arguments.layers)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "fp32.onnx"
        (parameters, features), peak = apart(export, *of_encoder, source)
        (nemo_s, ours_s), _ = apart(time_pytorch, *of_encoder, arguments.threads, arguments.chunks)
        base_bytes = sum(path.stat().st_size for path in source.parent.glob("fp32.onnx*"))
        base_s, _ = apart(time_onnx, source, features, arguments.threads, arguments.chunks)
        print(
            f"{parameters / 1e6:.1f} M parameters, {arguments.threads} thread(s), export took "
            f"{peak:.1f} GB"
        )
        columns = (
            "encoder",
            "MB",
            "float32 / it",
            "RTFx",
            "x ONNX fp32",
            "made in s, GB",
            "companion: RTFx, x fp32, fp32 / it",
        )
        print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
        for name, seconds in (
            ("PyTorch fp32, NeMo's step", nemo_s),
            ("PyTorch fp32, our step", ours_s),
        ):
            print(
                f"| {name} | {4 * parameters / 1e6:.1f} | 1.00 | {CHUNK_S / seconds:.2f} | "
                f"{base_s / seconds:.2f} | | |"
            )
        for name in arguments.schemes:
            variants = [(name, source, base_bytes, "")]
            if name != "onnx fp32":
                path, fast = Path(scratch) / "quantised.onnx", Path(scratch) / "fast.onnx"
                (written, took_s), peak = apart(quantize, source, SCHEMES[name], path)
                variants = [(name, path, written, f"{took_s:.0f}, {peak:.1f}")]
                variants.append(
                    (
                        f"{name}, int8 activations",
                        fast,
                        apart(with_int8_activations, path, fast)[0],
                        "",
                    )
                )
            for label, graph, size, made in variants:
                seconds, _ = apart(time_onnx, graph, features, arguments.threads, arguments.chunks)
                theirs = ""
                if label in COMPANION:
                    (rtfx, size_gb), (full_rtfx, full_gb) = COMPANION[label], COMPANION["onnx fp32"]
                    theirs = f"{rtfx}, {rtfx / full_rtfx:.2f}, {full_gb / size_gb:.2f}"
                print(
                    f"| {label} | {size / 1e6:.1f} | {4 * parameters / size:.2f} | "
                    f"{CHUNK_S / seconds:.2f} |"
                    f" {base_s / seconds:.2f} | {made} | {theirs} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
