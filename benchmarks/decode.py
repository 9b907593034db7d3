"""Speed of streaming decode against NeMo's own, on the same model, audio, tier, batch size and
threads, in one run.

NeMo's side is the loop of its script (examples/asr/asr_cache_aware_streaming,
speech_to_text_cache_aware_streaming_infer.py; not in the wheel) out of the wheel's own parts: files
in the order of the manifest, `CacheAwareStreamingAudioBuffer` with native chunks,
`conformer_stream_step` with `greedy_batch`, 10 symbols a frame at most. Ours is what rule decode
runs: several chunks a step, under the mask that keeps them apart; "live" is ours with one chunk a
step, as NeMo's. All start from waveforms in memory and end at tokens; all run once unmeasured, then
in turns, and the median counts. Ratios are NeMo's time by ours; the CPU ratio is that of the
process's CPU seconds, which a busy machine distorts less. Where tokens differ, NeMo's full forward
says who is right.

Audio: recordings of demo/speech joined and cut to log-normal lengths (median 6 s, 0.5 to 30 s), as
in sets of read speech. Without --model a random transducer of the given size decodes; its tokens
mean nothing, but are compared.

    python benchmarks/decode.py --model results/runs/it/ml/0.32h/seed1/model.nemo
    python benchmarks/decode.py --layers 12 --d-model 512 --utterances 32 --repeats 1
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In the place of this folder, whose coverage.py numba would take for the package of that name.
sys.path[:1] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from warmstart.decoding import test_set  # noqa: E402
from warmstart.models.fastconformer import load  # noqa: E402
from warmstart.models.fastconformer.decoder import Decoder  # noqa: E402
from warmstart.models.tier import Tier  # noqa: E402

TIERS = [Tier("80ms", 70, 0), Tier("160ms", 70, 1), Tier("560ms", 70, 6), Tier("1120ms", 70, 13)]


def material(count: int, seed: int = 1) -> list:
    """Waveforms of many lengths, float32 at 16 kHz."""
    import numpy
    import soundfile

    clips = [
        soundfile.read(path, dtype="float32")[0]
        for path in sorted((ROOT / "demo" / "speech").glob("*/*.flac"))
    ]
    speech = numpy.concatenate(clips)
    generator = numpy.random.default_rng(seed)
    lengths_s = numpy.clip(numpy.exp(generator.normal(numpy.log(6), 0.6, count)), 0.5, 30)
    starts = generator.integers(0, len(speech) - 30 * 16000, count)
    return [
        speech[start : start + int(16000 * length)]
        for start, length in zip(starts, lengths_s, strict=True)
    ]


def decode_nemo(model, waveforms: list, batch_size: int) -> list[list[int]]:
    """Tokens by NeMo's streaming loop, in the order of `waveforms`."""
    import torch
    from nemo.collections.asr.parts.utils.streaming_utils import CacheAwareStreamingAudioBuffer

    buffer = CacheAwareStreamingAudioBuffer(
        model, online_normalization=False, pad_and_drop_preencoded=False
    )
    tokens = []
    for start in range(0, len(waveforms), batch_size):
        batch = waveforms[start : start + batch_size]
        for samples in batch:
            buffer.append_audio(samples)
        caches = model.encoder.get_initial_cache_state(batch_size=len(batch))
        hypotheses = predicted = None
        with torch.inference_mode():
            for step, (chunk, lengths) in enumerate(buffer):
                predicted, _, *caches, hypotheses = model.conformer_stream_step(
                    processed_signal=chunk,
                    processed_signal_length=lengths,
                    cache_last_channel=caches[0],
                    cache_last_time=caches[1],
                    cache_last_channel_len=caches[2],
                    keep_all_outputs=buffer.is_buffer_empty(),
                    previous_hypotheses=hypotheses,
                    previous_pred_out=predicted,
                    drop_extra_pre_encoded=model.encoder.streaming_cfg.drop_extra_pre_encoded
                    if step
                    else 0,
                    return_transcription=True,
                )
        tokens += [[int(token) for token in row] for row in predicted]
        buffer.reset_buffer()
    return tokens


def decode_whole(model, waveforms: list) -> list[list[int]]:
    """Tokens of NeMo's full forward under the mask that is set, with its own search: what both
    should have found."""
    import torch

    tokens = []
    for samples in waveforms:
        signal, length = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
        with torch.inference_mode():
            encoded, lengths = model(input_signal=signal, input_signal_length=length)
            found = model.decoding.rnnt_decoder_predictions_tensor(
                encoded, lengths, return_hypotheses=True
            )[0]
        tokens.append([int(token) for token in found.y_sequence])
    return tokens


def decode_ours(decoder: Decoder, waveforms: list, batch_size: int) -> list[list[int]]:
    """Tokens by the workflow's decoder, in the order of `waveforms`."""
    tokens: list[list[int]] = [[]] * len(waveforms)
    for indices in test_set.batches([len(samples) for samples in waveforms], batch_size):
        for index, found in zip(
            indices, decoder.search([waveforms[index] for index in indices]), strict=True
        ):
            tokens[index] = found.tokens
    return tokens


def _memory_mb(field: str) -> float:
    """A line of /proc/self/status in MB; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(field))


def measure(function, *arguments) -> tuple[float, float, float, list]:
    """Wall seconds, CPU seconds, growth of the peak of resident memory in MB (Linux), result."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, wall, cpu = _memory_mb("VmRSS"), time.perf_counter(), time.process_time()
    result = function(*arguments)
    return (
        time.perf_counter() - wall,
        time.process_time() - cpu,
        _memory_mb("VmHWM") - before,
        result,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="a .nemo with the study's contexts; default: a random one"
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--d-model", type=int, default=256)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--tiers",
        nargs="+",
        default=["160ms", "560ms", "1120ms"],
        choices=[tier.name for tier in TIERS],
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model
        if path is None:
            import toy_model

            path = toy_model.build(
                Path(folder), n_layers=arguments.layers, d_model=arguments.d_model
            )
        model = load.load_model(path)
    from omegaconf import open_dict

    with open_dict(model.cfg.decoding):
        model.cfg.decoding.strategy = "greedy_batch"
        model.cfg.decoding.greedy.max_symbols = 10
        model.cfg.decoding.greedy.use_cuda_graph_decoder = False
        model.cfg.decoding.fused_batch_size = -1
    model.change_decoding_strategy(model.cfg.decoding)
    waveforms = material(arguments.utterances)
    audio_s = sum(map(len, waveforms)) / 16000
    parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
    print(
        f"encoder of {parameters / 1e6:.1f} M parameters, {len(waveforms)} utterances, "
        f"{audio_s:.0f} s of audio,"
        f" {arguments.threads} thread(s), median of {arguments.repeats}, torch {torch.__version__}"
    )
    columns = [
        "tier",
        "batch",
        "NeMo RTFx",
        "ours RTFx",
        "ratio",
        "CPU ratio",
        "live ratio",
        "live CPU ratio",
    ]
    columns += [
        "equal",
        "of the others, ours as the full forward",
        "live as ours",
        "NeMo MB",
        "ours MB",
    ]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for tier in (tier for tier in TIERS if tier.name in arguments.tiers):
        for batch_size in arguments.batches:
            decoder = Decoder(model, tier)
            systems = {
                "nemo": (decode_nemo, model),
                "ours": (decode_ours, decoder),
                "live": (decode_ours, decoder.chunk_by_chunk()),
            }
            for function, engine in systems.values():
                function(engine, waveforms[:batch_size], batch_size)
            wall, cpu, memory, tokens = (
                {name: [] for name in systems},
                {name: [] for name in systems},
                {},
                {},
            )
            for _ in range(arguments.repeats):
                for name, (function, engine) in systems.items():
                    taken_s, computed_s, memory[name], tokens[name] = measure(
                        function, engine, waveforms, batch_size
                    )
                    wall[name].append(taken_s)
                    cpu[name].append(computed_s)
            wall_s, cpu_s = (
                {name: statistics.median(of[name]) for name in systems} for of in (wall, cpu)
            )
            ratios = [of["nemo"] / of[name] for name in ("ours", "live") for of in (wall_s, cpu_s)]
            differing = [
                index
                for index, found in enumerate(tokens["ours"])
                if found != tokens["nemo"][index]
            ]
            whole = decode_whole(model, [waveforms[index] for index in differing])
            right = sum(
                tokens["ours"][index] == found
                for index, found in zip(differing, whole, strict=True)
            )
            live = sum(
                left == right for left, right in zip(tokens["live"], tokens["ours"], strict=True)
            )
            count = len(waveforms)
            cells = [
                tier.name,
                batch_size,
                *(f"{audio_s / wall_s[name]:.1f}" for name in ("nemo", "ours")),
            ]
            cells += [f"{ratio:.2f}" for ratio in ratios]
            cells += [
                f"{count - len(differing)} of {count}",
                f"{right} of {len(differing)}",
                f"{live} of {count}",
            ]
            cells += [f"{memory[name]:.0f}" for name in ("nemo", "ours")]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
