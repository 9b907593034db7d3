"""Transducer losses on one batch of joint activations: time, memory, and how far each is from the
one that is used.

A joint (640 wide, 1025 classes) over random encoder and predictor states; forward and backward, in
a process of its own for each way:

- whole: torchaudio's kernel over the whole (B, T, U, V), as on a CPU by default;
- nemo_parts: NeMo's own loop, four utterances at a time, with the same kernel;
- four: ours, four utterances at a time, the default on a GPU;
- sized: ours with `training.joint_mb`;
- two_columns: no logits are kept. Of each position the log-probabilities of blank and of the right
  token, computed a few frames at a time and once more in the backward pass; torchaudio's kernel
  over these two as a vocabulary;
- numba: NeMo's default kernel, which it compiles when it is first used.

    python benchmarks/loss.py
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
# In place of this folder, whose coverage.py would hide the package that numba asks for.
sys.path[0] = str(SCRIPTS)

WAYS = ("whole", "nemo_parts", "four", "sized", "two_columns", "numba")
WIDTH, CLASSES = 640, 1025
_FRAMES_AT_A_TIME = 8


def two_columns(joint: Any, encoded: Any, predicted: Any, tokens: Any, frames: Any, texts: Any):
    """Loss per utterance, exact, without the lattice of logits.

    The loss of a transducer needs two numbers of each position alone: the log-probability of the
    blank and of the next token of the text (arXiv 1211.3711, eq. 16 to 18).
    """
    import torch
    from torch.utils.checkpoint import checkpoint
    from torchaudio.functional import rnnt_loss

    blank = joint.num_classes_with_blank - 1
    # Behind the last token nothing follows but blanks; which id stands there does not matter.
    following = torch.nn.functional.pad(tokens, (0, 1))[:, None, :, None]

    def columns(states: Any) -> Any:
        scores = joint.joint(states, predicted).float().log_softmax(-1)
        right = scores.gather(-1, following.expand(-1, states.shape[1], -1, -1))
        return torch.cat([right, scores[..., blank : blank + 1]], -1)

    pairs = torch.cat(
        [
            checkpoint(columns, states, use_reentrant=False)
            for states in encoded.split(_FRAMES_AT_A_TIME, dim=1)
        ],
        dim=1,
    )
    nothing = torch.zeros_like(tokens, dtype=torch.int32)
    return rnnt_loss(
        *(pairs, nothing, frames.int(), texts.int()),
        blank=1,
        clamp=-1,
        reduction="none",
        fused_log_softmax=False,
    )


def run(way: str, shape: list[int], joint_mb: float, threads: int) -> dict[str, Any]:
    """One way, in this process: seconds, growth of the peak of memory, loss, gradients' norms and
    some of their values."""
    import torch
    from nemo.collections.asr.losses.rnnt import RNNTLoss
    from nemo.collections.asr.modules import RNNTJoint

    from warmstart.models.fastconformer import loss

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    hidden = {"encoder_hidden": WIDTH, "pred_hidden": WIDTH, "joint_hidden": WIDTH}
    joint = RNNTJoint({**hidden, "activation": "relu", "dropout": 0.0}, num_classes=CLASSES - 1)
    model = SimpleNamespace(joint=joint, loss=RNNTLoss(num_classes=CLASSES - 1), wer=object())
    count, frames, tokens = shape
    encoded = torch.randn(count, WIDTH, frames).requires_grad_()
    predicted = torch.randn(count, WIDTH, tokens + 1).requires_grad_()
    lengths = [torch.linspace(0.6, 1, count).mul(most).round().long() for most in (frames, tokens)]
    texts = torch.randint(0, CLASSES - 1, (count, tokens))
    if way in ("four", "sized"):
        loss.use_fast_loss(model, joint_mb if way == "sized" else None, 4)
    elif way == "nemo_parts":
        loss.use_fast_loss(model)
        joint.set_fused_batch_size(4)
        joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)
    elif way == "whole":
        loss.use_fast_loss(model)

    def value() -> Any:
        pair = {"encoder_outputs": encoded, "decoder_outputs": predicted}
        if way in ("four", "sized", "nemo_parts"):
            names = ("encoder_lengths", "transcripts", "transcript_lengths")
            return joint(**pair, **dict(zip(names, (lengths[0], texts, lengths[1]), strict=True)))[
                0
            ]
        if way == "two_columns":
            states = encoded.transpose(1, 2), predicted.transpose(1, 2)
            return two_columns(joint, *states, texts, *lengths).mean()
        return model.loss(
            log_probs=joint(**pair),
            targets=texts,
            input_lengths=lengths[0],
            target_lengths=lengths[1],
        )

    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if way == "numba":  # compiles
        value().backward()
        for tensor in (encoded, predicted, *joint.parameters()):
            tensor.grad = None
    began, cpu = time.perf_counter(), time.process_time()
    found = value()
    found.backward()
    taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    tensors = {"encoder": encoded, "predictor": predicted, "output": joint.joint_net[-1].weight}
    return {
        "way": way,
        "s": taken,
        "cpu_s": cpu,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb,
        "loss": float(found.detach()),
        "gradients": {name: one.grad.flatten()[:20000].tolist() for name, one in tensors.items()},
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=[8, 100, 40], help="B, T, U")
    parser.add_argument("--joint-mb", type=float, default=60)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape, joint_mb = arguments.shape, arguments.joint_mb
    if arguments.only:
        print("RESULT " + json.dumps(run(arguments.only, shape, joint_mb, arguments.threads)))
        return
    rows = []
    for way in arguments.ways:
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--only", way], capture_output=True, text=True
        )
        lines = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if lines:
            rows.append(json.loads(lines[0]))
        else:
            print(f"{way} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
    count, frames, tokens = shape
    lattice_mb = count * frames * (tokens + 1) * CLASSES * 8 / 1e6
    print(
        f"B {count}, T {frames}, U {tokens}, V {CLASSES}; logits and gradient {lattice_mb:.0f} MB"
    )
    print("| way | s | CPU s | MB | loss, relative difference | gradients, relative difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        off = max(
            max(abs(one - other) for one, other in zip(values, first, strict=True))
            / max(map(abs, first))
            for values, first in (
                (values, rows[0]["gradients"][name]) for name, values in row["gradients"].items()
            )
        )
        print(
            f"| {row['way']} | {row['s']:.1f} | {row['cpu_s']:.1f} | {row['mb']:.0f} | "
            f"{abs(row['loss'] / rows[0]['loss'] - 1):.0e} | {off:.0e} |"
        )


if __name__ == "__main__":
    main()
