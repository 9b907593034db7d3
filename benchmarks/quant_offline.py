"""Speed, size and parity of an encoder of raw audio on the CPU: PyTorch, ONNX float32, int8, int4,
in one run.

Whole utterances of noise through encoder and CTC head of the size of wav2vec2-base (95 M), random
weights. RTFx = seconds of audio / CPU seconds of one thread, best of several, one utterance at a
time. Beside MatMulNBits stands what ONNX Runtime calls dynamic quantisation, which the workflow
does not use: its activations share one scale over the batch, so an utterance alone has other
scores.

    python benchmarks/quant_offline.py --layers 2        # the same layers, fewer
    python benchmarks/quant_offline.py                   # k_quant takes minutes
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In the place of this folder, whose coverage.py numba would take for the package of that name.
sys.path[:1] = [str(ROOT / "workflow" / "scripts")]

UTTERANCES_S = (10.0, 6.0, 3.0)
LABELS = 256
SCHEMES = {
    "ONNX fp32": {"scheme": "fp32"},
    "int4": {"scheme": "k_quant"},
    "int8": {"scheme": "k_quant", "bits": 8},
    "int8 rtn": {"scheme": "rtn", "bits": 8},
}


def make_network(layers: int):
    """Random weights; the head is made louder, so that the best label of a frame is no tie."""
    import torch

    from warmstart.models.wav2vec2 import settings
    from warmstart.models.wav2vec2.network import Network

    config = settings.read({"model_type": "wav2vec2", "num_hidden_layers": layers}, {}, "benchmark")
    torch.manual_seed(0)
    encoder = settings.architecture_of(config).encoding(config).make(None)
    network = Network(encoder, config, LABELS, 0).eval()
    with torch.no_grad():
        network.head.weight.mul_(20)
    return network


def make_utterances(network):
    """What the encoder is given of noise: inputs and lengths, one utterance each."""
    import torch

    generator = torch.Generator().manual_seed(1)
    made = []
    for seconds in UTTERANCES_S:
        audio = 0.1 * torch.randn(1, round(16000 * seconds), generator=generator)
        made.append(network.encoding.inputs(audio, torch.tensor([audio.shape[1]])))
    return made


def measure(compute, utterances, repeats: int):
    """RTFx, and the scores of every utterance."""
    import torch

    with torch.inference_mode():
        scores = [compute(*one)[0][0] for one in utterances]
        times = []
        for _ in range(repeats):
            started = time.process_time()
            compute(*utterances[0])
            times.append(time.process_time() - started)
    return UTTERANCES_S[0] / min(times), scores


def compared(scores, others) -> str:
    """Largest difference, and the share of frames with the same best label."""
    largest = max(
        float((one - other).abs().max()) for one, other in zip(scores, others, strict=True)
    )
    same = sum(
        int((one.argmax(-1) == other.argmax(-1)).sum())
        for one, other in zip(scores, others, strict=True)
    )
    return f"{largest:.1e}, {100 * same / sum(map(len, scores)):.2f} %"


def with_int8_activations(graph):
    """The same packed weights with `accuracy_level` 4, which is all that the setting changes."""
    import onnx

    for node in graph.graph.node:
        if node.op_type == "MatMulNBits":
            kept = [attribute for attribute in node.attribute if attribute.name != "accuracy_level"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("accuracy_level", 4)])
    return graph


def dynamic(source: Path, path: Path) -> None:
    """ONNX Runtime's own dynamic quantisation, signed weights with a scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source),
        str(path),
        op_types_to_quantize=["MatMul"],
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), choices=list(SCHEMES))
    arguments = parser.parse_args()
    import onnx
    import torch

    from warmstart.export import matmul_nbits
    from warmstart.export.scheme import Scheme
    from warmstart.models import onnx_file, quantised_weights
    from warmstart.models.tier import Tier
    from warmstart.models.wav2vec2 import onnx_export
    from warmstart.models.wav2vec2.onnx_network import OnnxNetwork

    torch.set_num_threads(1)
    network, tier = make_network(arguments.layers), Tier("offline", 70, 13, offline=True)
    utterances = make_utterances(network)
    parameters = sum(each.numel() for each in network.parameters())
    metadata = {"warmstart_form": "whole", "warmstart_context": "[70, 13]"}
    pytorch, exact = measure(
        lambda *one: network(*one, prepared=True), utterances, arguments.repeats
    )
    print(f"{parameters / 1e6:.1f} M parameters, one thread, {torch.__version__}\n")
    print("| | MB | fp32 / it | RTFx | to fp32: largest, same labels | to its own weights |")
    print("| --- " * 6 + "|")
    print(f"| PyTorch fp32 | {4 * parameters / 1e6:.1f} | 1.00 | {pytorch:.1f} | | |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        source, path = Path(scratch) / "fp32.onnx", Path(scratch) / "quantised.onnx"

        def row(name: str, expected) -> None:
            rtfx, scores = measure(OnnxNetwork(path, tier), utterances, arguments.repeats)
            size = path.stat().st_size
            print(
                f"| {name} | {size / 1e6:.1f} | {4 * parameters / size:.2f} | {rtfx:.1f} | "
                f"{compared(scores, exact)} | "
                f"{'' if expected is None else compared(scores, expected)} |",
                flush=True,
            )

        original = onnx_export.export(network)
        onnx_file.set_metadata(original, metadata)
        onnx_file.save(original, source)
        dynamic(source, path)
        row("dynamic (not used)", None)
        for name in arguments.schemes:
            scheme = Scheme.from_json(SCHEMES[name])
            graph = matmul_nbits.quantize(onnx.load(str(source)), scheme)
            onnx_file.set_metadata(graph, metadata)
            onnx_file.save(graph, path)
            own = make_network(arguments.layers)
            quantised_weights.load(own, path)
            with torch.inference_mode():
                expected = [own(*one, prepared=True)[0][0] for one in utterances]
            row(name, expected)
            if scheme.scheme != "fp32":
                onnx_file.save(with_int8_activations(graph), path)
                row(f"{name}, int8 activations", expected)


if __name__ == "__main__":
    main()
