"""Cache-aware streaming decode of a transducer: batched, chunk by chunk, with the tokens of the same-mask full forward.

A chunk of a tier with right context R is R + 1 encoder frames. The encoder is 8-fold causal, so the first chunk takes 1 + 8 R
feature frames and every later one 8 (R + 1), preceded by 9 frames that it has seen before (the two frames that those 9 give
again are dropped behind the subsampling). These are NeMo's native chunks; its `pad_and_drop_preencoded` shifts the frames and
does not equal the full forward. NeMo's own `CacheAwareStreamingAudioBuffer` does not either: it leaves out a last chunk of less
than 8 feature frames, of which the full forward makes one more encoder frame, and takes the last feature frame, which the full
forward masks, for one of the audio. The chunks are therefore cut here.

Test sets lie on the disk, so nothing has to wait for a speaker: PyTorch takes several chunks a step, under the mask that keeps
them apart. What a live stream costs is measured chunk by chunk on a sample, which must have the same tokens (`batch_check`).

NeMo, torch and ONNX Runtime are imported inside functions: importing NeMo costs 8 s, and a program that finds its outputs
current must not pay them.
"""

import copy
import hashlib
import json
import logging
import math
import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from warmstart import cuts as manifest_lines
from warmstart import donors, files
from warmstart.errors import UserError
from warmstart.journal import Journal
from warmstart.logs import MinuteTicker, route_nemo_logs
from warmstart.tier import FRAME_S, Seconds, Tier

if TYPE_CHECKING:
    import torch

    from warmstart.greedy import Hypothesis

# Raise when a change of this module or of quantization.py can change a token, a time or a measured column of hypotheses.
RECIPE = 4

_LOG = logging.getLogger("warmstart.streaming")
_CHECKED_S: Seconds = 30  # of audio, more or less
_CHECKED_SHARES = (0, 0.5, 0.9, 0.25, 0.7, 0.1, 0.8, 0.4)  # where in the order of lengths
# Encoder frames of a step over its batch, as far as chunks are shorter. On a CPU, 12 layers of 512, one utterance at 160 ms:
# RTFx 22, 26, 30, 30 with 32, 64, 128, 256 frames, and no other batch or tier gains beyond 128. The GPU's is not measured.
_STEP_FRAMES = {"cpu": 128, "cuda": 2048}
_MOST_FRAMES = 256  # of one utterance in a step
_LANGUAGE_TAG = re.compile(r"<[a-z]{2,3}(-[A-Za-z0-9]{2,4})?>")


# ---- what is decoded ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Utterance:
    """One line of a test manifest."""

    id: str
    block: str
    duration_s: Seconds
    text: str
    line: bytes = field(repr=False)  # of the manifest: a tenth of what its objects would take


@dataclass
class Timing:
    """Wall times of a decode, without loading model and audio."""

    features_s: Seconds = 0.0
    encode_decode_s: Seconds = 0.0

    @property
    def compute_s(self) -> Seconds:
        """From waveforms in memory to tokens: features, encoder, predictor and joint."""
        return self.features_s + self.encode_decode_s


def read_manifest(path: str | Path) -> list[Utterance]:
    """The utterances of a test manifest, in its order.

    Raises:
        UserError: no such file, damaged, empty, or two cuts of one id.
    """
    utterances = []
    for line in manifest_lines.read_lines(path):
        try:
            cut = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: a line is not JSON ({error}); delete the file and run the workflow again") from error
        supervision = manifest_lines.supervision(cut)
        custom = manifest_lines.first_part(cut).get("custom") or {}
        block = custom.get("block") or supervision.get("speaker") or cut["id"]
        utterances.append(Utterance(cut["id"], str(block), manifest_lines.duration_s(cut), supervision.get("text") or "", line))
    if not utterances:
        raise UserError(f"{path}: no utterances; a test set needs at least one: check the .qc.json beside it")
    seen: set[str] = set()
    twice = [u.id for u in utterances if u.id in seen or seen.add(u.id)]
    if twice:
        raise UserError(f"{path}: {len(twice)} utterance ids occur twice, e.g. {twice[0]}; make the manifest again")
    return utterances


def load_audio(utterance: Utterance, sample_rate: int):
    """Waveform of an utterance.

    Returns:
        float32 array (samples,) at `sample_rate`.

    Raises:
        UserError: cannot be read, empty, more than one channel, or holds NaN or infinity.
    """
    import numpy
    from lhotse.serialization import deserialize_item

    cut = deserialize_item(json.loads(utterance.line))
    try:
        samples = (cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)).load_audio()
    except Exception as error:  # whatever the audio backend raises
        raise UserError(f"cut {utterance.id}: audio cannot be read ({error}); run prepare_manifest again") from error
    if samples.shape[0] != 1:
        raise UserError(f"cut {utterance.id}: {samples.shape[0]} channels, 1 is needed; mix it down in the manifest")
    if not samples.size:
        raise UserError(f"cut {utterance.id}: no samples; drop it from the manifest")
    if not numpy.isfinite(samples).all():
        raise UserError(f"cut {utterance.id}: the waveform holds NaN or infinity; drop it from the manifest or mend the file")
    return samples[0].astype(numpy.float32, copy=False)


# ---- the model ---------------------------------------------------------------------------------------------------------------


def resolve_device(wanted: str) -> str:
    """`auto` is `cuda` where torch sees one, else `cpu`.

    Raises:
        UserError: `cuda` wanted and none there, or an unknown name.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {wanted!r} is unknown; allowed: auto, cpu, cuda")
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UserError("device 'cuda' asked, but torch sees no GPU; set decoding.device to auto or cpu")
    return "cpu"


def device_name(device: str) -> str:
    """What a speed was measured on: the GPU's name, or the processor's."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        about = ""
    named = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", about, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def load_model(path: str | Path, device: str = "cpu"):
    """Restore a transducer for inference: eval mode, no dither, no padding of features, float32 (no TF32 on a GPU).

    Raises:
        UserError: no such file, not a `.nemo`, or not a transducer with a cache-aware Conformer encoder that streams as the
            study's models do (`donors.not_causal`).
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such model; train it first (rule train)")
    import nemo.collections.asr as nemo_asr
    import torch
    from nemo.core.classes.common import typecheck
    from omegaconf import OmegaConf

    route_nemo_logs()
    try:
        model = nemo_asr.models.ASRModel.restore_from(str(path), map_location=device)
    except Exception as error:  # tarfile, yaml, pickle, NeMo: the class says nothing
        raise UserError(f"{path}: cannot be restored as a NeMo model ({type(error).__name__}: {error})") from error
    if not isinstance(model, nemo_asr.models.EncDecRNNTModel) or not hasattr(model.encoder, "cache_aware_stream_step"):
        raise UserError(
            f"{path}: {type(model).__name__} is not a transducer with a cache-aware encoder, and has no decoder to search;"
            " fine-tune from it (rule train), or take zero_shot out of its init"
        )
    if found := donors.not_causal(OmegaConf.to_container(model.cfg)):
        raise UserError(f"{path}: {'; '.join(found)}; what is decoded chunk by chunk would not be what the model computes")
    # Type checks cost as much as a small encoder's step; shapes are fixed here.
    typecheck.set_typecheck_enabled(False)
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    model.preprocessor.featurizer.pad_to = 0
    # On by default for convolutions: ten bits of mantissa, where the weights that ship are compared within 1e-4.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return model.to(device)


def set_tier(encoder, tier: Tier) -> None:
    """Make `tier` the encoder's context.

    Raises:
        UserError: the encoder was not trained with this context, or cannot stream at all.
    """
    if encoder.att_context_style != "chunked_limited":
        raise UserError(
            f"tier {tier.name}: the encoder's att_context_style is {encoder.att_context_style!r}; tiers need 'chunked_limited'"
        )
    trained = [list(context) for context in encoder.att_context_size_all]
    if tier.context not in trained:
        raise UserError(f"tier {tier.name}: context {tier.context} was not trained into this model; its contexts: {trained}")
    encoder.set_default_att_context_size(tier.context)


def own_left(encoder, tier: Tier) -> Tier:
    """The tier with the left context that a donor was trained with for its lookahead: latency is the right context alone."""
    fits = [context for context in map(list, encoder.att_context_size_all) if context[1] == tier.right]
    return replace(tier, left=fits[0][0]) if fits else tier


def set_prompt(model, prompt: str | None) -> None:
    """Tell a model with language prompts what it hears.

    Raises:
        UserError: a prompt for a model that has none, none for a model that needs one, or one that it does not know.
    """
    known = sorted(model.cfg.get("model_defaults", {}).get("prompt_dictionary", None) or {})
    if not getattr(model, "concat", False):
        if prompt is not None:
            raise UserError(f"prompt {prompt!r}: this {type(model).__name__} takes no language prompt; take it out")
        return
    if prompt not in known:
        raise UserError(
            f"prompt {prompt!r}: this model needs one of its own language prompts (inits.<name>.zero_shot.prompts): "
            f"{', '.join(known)}"
        )
    model.set_inference_prompt(prompt)


@dataclass(frozen=True)
class ChunkShape:
    """Sizes of native chunks, in feature frames unless said otherwise."""

    first: int
    later: int
    again: int  # frames in front of a later chunk that were seen before, as far as there are so many
    encoder_frames: int  # a whole chunk's

    @classmethod
    def of(cls, encoder) -> "ChunkShape":
        """Sizes for the context that is set."""
        streaming = encoder.streaming_cfg
        return cls(
            first=streaming.chunk_size[0],
            later=streaming.chunk_size[1],
            again=streaming.pre_encode_cache_size[1],
            encoder_frames=encoder.att_context_size[1] + 1,
        )

    def cut(
        self, features: "torch.Tensor", lengths: "torch.Tensor", step_frames: int = 0
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor", int]]:
        """Cut a batch into steps of whole chunks; utterances that are over leave from the end.

        Args:
            features: (B, F, T), utterances by falling length.
            lengths: (B,) feature frames.
            step_frames: encoder frames of a step, all utterances together; 0 or too few for more: one chunk.

        Yields:
            (n, F, `first`), then (n, F, `again + later`), each with k x `later` more for k further chunks, zero behind the end
            of an utterance; (n,) lengths that count `again`; and the number of encoder frames to drop, which were given before.
            Every one of the n utterances has at least one new frame in its step.
        """
        import torch

        counts = lengths.tolist()
        start, one, again = 0, self.first, 0
        while True:
            active = sum(count > start for count in counts)
            if not active:
                return
            wanted = min(step_frames // active, _MOST_FRAMES) // self.encoder_frames
            left_over = -(-(counts[0] - start - one) // self.later)  # further chunks of the longest utterance
            size = one + self.later * max(0, min(wanted - 1, left_over))
            chunk = features[:active, :, start - again : start + size]
            missing = again + size - chunk.shape[2]
            if missing:
                chunk = torch.nn.functional.pad(chunk, (0, missing))
            # 8-fold causal: 8 k + 1 feature frames give k + 1 encoder frames.
            yield chunk, (lengths[:active] - start).clamp(max=size) + again, 1 + (again - 1) // 8 if again else 0
            start, one = start + size, self.later
            # After a first chunk of one frame ([L, 0]) there are not yet 9; zeros in their place, as in NeMo, change the
            # encoding.
            again = min(self.again, start)


class Encoder(Protocol):
    """One step of a streaming encoder, whoever computes it."""

    def start(self, batch: int) -> Any:
        """Empty caches for `batch` utterances."""

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""

    def step(
        self, chunk: "torch.Tensor", lengths: "torch.Tensor", dropped: int, caches: Any
    ) -> tuple["torch.Tensor", "torch.Tensor", Any]:
        """Encode a step of `ChunkShape.cut`: (B, k (R + 1), D) encoder frames of k chunks, (B,) lengths, next caches."""


class OnnxEncoder:
    """A native-step export (`quantization.export`) in ONNX Runtime on the CPU: one chunk a step, as it ships.

    Raises:
        UserError: on construction: no such file, not loadable, made of another model or for another tier.
    """

    def __init__(self, path: str | Path, tier: Tier, model_sha256: str | None = None, threads: int = 1):
        import onnxruntime

        from warmstart import quantization

        if not Path(path).is_file():
            raise UserError(f"{path}: no such encoder; make it with quantize.py")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes of its own, opset and graph errors among them
            raise UserError(
                f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); run quantize.py again"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("warmstart_form") != "native":
            raise UserError(f"{path}: not a native-step export of this workflow; make it with quantize.py")
        if (made_for := json.loads(metadata["warmstart_context"])) != tier.context:
            raise UserError(f"{path}: made for context {made_for}, tier {tier.name} is {tier.context}; quantise for this tier")
        if model_sha256 and metadata["warmstart_model_sha256"] != model_sha256:
            raise UserError(
                f"{path}: made of a model with sha256 {metadata['warmstart_model_sha256'][:12]}…,"
                f" --model has {model_sha256[:12]}…; run quantize.py again"
            )
        quantization.require_data(path, metadata)
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._cache_shapes = [value.shape[1:] for value in self._session.get_inputs()[2:4]]

    def start(self, batch: int) -> Any:
        """Zero caches, batch first: (B, 2 layers, heads x left, D / heads), (B, layers, D, kernel - 1), lengths (B,)."""
        import numpy

        channel, convolution = (numpy.zeros((batch, *shape), dtype=numpy.float32) for shape in self._cache_shapes)
        return channel, convolution, numpy.zeros(batch, dtype=numpy.int64)

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""
        return tuple(cache[:batch] for cache in caches)

    def step(
        self, chunk: "torch.Tensor", lengths: "torch.Tensor", dropped: int, caches: Any
    ) -> tuple["torch.Tensor", "torch.Tensor", Any]:
        """See `Encoder.step`; what is dropped is part of the graph."""
        import numpy
        import torch

        values = (numpy.ascontiguousarray(chunk.numpy()), lengths.numpy(), *caches)
        encoded, encoded_lengths, *following = self._session.run(None, dict(zip(self._inputs, values, strict=True)))
        return torch.from_numpy(encoded).transpose(1, 2), torch.from_numpy(encoded_lengths), tuple(following)


# ---- decoding ----------------------------------------------------------------------------------------------------------------


class NotFinite(UserError):
    """An encoder gave NaN or infinity, of which the search would take some token all the same.

    Attributes:
        index: of one waveform with such frames, as they were given.
    """

    def __init__(self, index: int):
        super().__init__(f"waveform {index}: the encoder gives NaN or infinity")
        self.index = index


class Decoder:
    """Greedy decode at one tier.

    Args:
        model: from `load_model`.
        tier: must be among the contexts of the model (UserError otherwise).
        encoder: steps through this instead of the model's own encoder, chunk by chunk; not for offline tiers.
        step_frames: encoder frames that a step of the model's own encoder computes over its batch; 0 = chunk by chunk, as a
            live stream; None = what suits the device.
    """

    def __init__(self, model, tier: Tier, encoder: Encoder | None = None, step_frames: int | None = None):
        from warmstart.encoder_steps import EncoderSteps
        from warmstart.greedy import GreedySearch

        set_tier(model.encoder, tier)
        self.model = model
        self.tier = tier
        self.device = next(model.parameters()).device
        self._shape = ChunkShape.of(model.encoder)
        self._step_frames = 0 if encoder else _STEP_FRAMES.get(self.device.type, 0) if step_frames is None else step_frames
        if encoder is None and not tier.offline:
            encoder = EncoderSteps(model.encoder, min(self._step_frames, _MOST_FRAMES))
        self._encoder = encoder
        self._search = GreedySearch(model)

    def chunk_by_chunk(self) -> "Decoder":
        """The same decoder, taking one chunk a step."""
        other = copy.copy(self)
        other._step_frames = 0
        return other

    @property
    def engine(self) -> str:
        """What computes the encoder."""
        return "onnxruntime" if isinstance(self._encoder, OnnxEncoder) else "pytorch"

    def decode(
        self, waveforms: Sequence, timing: Timing | None = None, steps_ms: list[float] | None = None
    ) -> "list[Hypothesis]":
        """Decode a batch.

        Args:
            waveforms: float32 arrays (samples,) in any order; the batch is sorted by length inside.
            timing: is added to.
            steps_ms: gets the wall time of every step: encoder, search, and of the features, made at once, an equal part.

        Returns:
            One hypothesis a waveform, in the order given. Audio shorter than one feature frame (10 ms) gives an empty one.

        Raises:
            NotFinite: of a damaged model, or of audio beyond float32's reach.
        """
        import torch

        from warmstart.greedy import Hypothesis

        timing = timing if timing is not None else Timing()
        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        hypotheses = [Hypothesis() for _ in waveforms]
        by_length, state, took_ms = [hypotheses[index] for index in order], None, []
        with torch.inference_mode():
            started = self._now()
            features, lengths = self._features([waveforms[index] for index in order])
            features_s = self._now() - started
            started = step_started = self._now()
            for encoded, counts in self._encoded(features, lengths):
                if not torch.isfinite(encoded).all() and (bad := _not_finite(encoded, counts)) is not None:
                    raise NotFinite(order[bad])
                state = self._search.start(len(encoded)) if state is None else state.narrow(len(encoded))
                self._search.extend(by_length[: len(encoded)], encoded, counts, state)
                if steps_ms is not None:
                    took_ms.append(1000 * (self._now() - step_started))
                    step_started = self._now()
            timing.encode_decode_s += self._now() - started
        timing.features_s += features_s
        if steps_ms is not None:
            steps_ms += [took + 1000 * features_s / len(took_ms) for took in took_ms]
        return hypotheses

    def logits(self, waveforms: Sequence) -> "list[torch.Tensor]":
        """What the joint makes of every frame before any token: (T, V) a waveform, to compare ways of computing the same."""
        import torch

        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        parts: list[list[torch.Tensor]] = [[] for _ in waveforms]
        with torch.inference_mode():
            for encoded, counts in self._encoded(*self._features([waveforms[index] for index in order])):
                for index, rows, count in zip(order, self._search.first_logits(encoded), counts.tolist(), strict=False):
                    parts[index].append(rows[:count])
        return [torch.cat(rows) if rows else torch.zeros(0, 0) for rows in parts]

    def _features(self, waveforms: list) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Log-mel features (B, F, T), zero behind the end, and their lengths (B,).

        One utterance at a time: a batch of long ones would need ten times its size for the spectra.
        """
        import torch

        rows, lengths = [], []
        for samples in waveforms:
            signal = torch.from_numpy(samples)[None].to(self.device)
            features, length = self.model.preprocessor(
                input_signal=signal, length=torch.tensor([signal.shape[1]], device=self.device)
            )
            lengths.append(int(length))
            rows.append(features[0, :, : lengths[-1]].T)
        batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2)
        return batch, torch.tensor(lengths, device=self.device)

    def _encoded(self, features: "torch.Tensor", lengths: "torch.Tensor") -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """Of the n longest utterances, which are not over: encoder frames (n, T, D) and how many of them count (n,)."""
        if self.tier.offline:
            if heard := int((lengths > 0).sum()):
                encoded, counts = self.model.encoder(audio_signal=features[:heard], length=lengths[:heard])[:2]
                yield self._prompted(encoded.transpose(1, 2)), counts
            return
        caches, before = None, 0
        for chunk, chunk_lengths, dropped in self._shape.cut(features, lengths, self._step_frames):
            if caches is None:
                caches = self._encoder.start(len(chunk))
            elif len(chunk) < before:
                caches = self._encoder.narrow(caches, len(chunk))
            before = len(chunk)
            encoded, counts, caches = self._encoder.step(chunk, chunk_lengths, dropped, caches)
            yield self._prompted(encoded), counts

    def _prompted(self, encoded: "torch.Tensor") -> "torch.Tensor":
        """Encoder frames (B, T, D) with the language prompt mixed in, where the model has one (frame by frame)."""
        return self.model._apply_prompt_to_encoded(encoded.transpose(1, 2)).transpose(1, 2)

    def _now(self) -> Seconds:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def emission_s(self, hypothesis: "Hypothesis") -> list[Seconds]:
        """When each token could be shown, in seconds of audio.

        At a streaming tier a frame waits for the last frame of its chunk (or of the utterance); in the full forward it is
        counted at its own position. The difference of the two is the delay of a token against a recogniser that need not wait.
        """
        if self.tier.offline:
            return [round(frame * FRAME_S, 2) for frame in hypothesis.frames]
        size, last = self.tier.right + 1, hypothesis.encoder_frames - 1
        return [round(min((frame // size + 1) * size - 1, last) * FRAME_S, 2) for frame in hypothesis.frames]

    def text(self, hypothesis: "Hypothesis") -> str:
        """Raw text of a hypothesis."""
        return without_language_tags(self.model.tokenizer.ids_to_text(hypothesis.tokens))

    def pieces(self, hypothesis: "Hypothesis") -> list[str]:
        """SentencePiece pieces of a hypothesis."""
        return list(self.model.tokenizer.ids_to_tokens(hypothesis.tokens))

    def emitted(self, hypothesis: "Hypothesis") -> list[dict[str, Any]]:
        """Piece and time of every token, as hypothesis files hold them."""
        times = zip(self.pieces(hypothesis), self.emission_s(hypothesis), strict=True)
        return [{"piece": piece, "time_s": seconds} for piece, seconds in times]


def _not_finite(encoded: "torch.Tensor", counts: "torch.Tensor") -> int | None:
    """The first utterance of (n, T, D) frames with NaN or infinity among those that count (n,); None if there is none."""
    import torch

    counting = torch.arange(encoded.shape[1], device=counts.device) < counts[:, None]
    bad = (~torch.isfinite(encoded).all(dim=2) & counting.to(encoded.device)).any(dim=1)
    return int(bad.nonzero()[0]) if bad.any() else None


def without_language_tags(text: str) -> str:
    """Multilingual models write what they heard as `<de-DE>`, which is no word."""
    return _LANGUAGE_TAG.sub("", text).strip()


def batches(lengths: Sequence[float], size: int) -> Iterator[list[int]]:
    """Indices of `lengths`, longest first, `size` at a time: short utterances do not wait for long ones."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass
class Decoded:
    """What decoding a test set came to, former processes' batches included."""

    timing: Timing
    tokens: int
    measured_on: dict[str, Any]  # keys of `measured_on` below; None where batches differ


def decode_test_set(
    decoder: Decoder,
    utterances: Sequence[Utterance],
    batch_size: int,
    journal: Journal,
    measured_on: dict[str, Any],
) -> Decoded:
    """Decode what `journal` lacks of a test set; memory is bounded by the batch.

    Args:
        measured_on: what the times depend on (processor, threads); a resumed decode may have seen several.

    Raises:
        UserError: audio that cannot be read or holds NaN, or of which the encoder makes NaN.
    """
    sample_rate = int(decoder.model.cfg.preprocessor.sample_rate)
    ticker, finished = MinuteTicker(), journal.finished
    if finished:
        _LOG.info("%d of %d utterances were finished by a process before this one", len(finished), len(utterances))
    # Cut into batches before the finished ones are left out: a resumed decode has the batches of an uninterrupted one.
    for indices in batches([utterance.duration_s for utterance in utterances], batch_size):
        if finished.issuperset(indices):
            continue
        waveforms = [load_audio(utterances[index], sample_rate) for index in indices]
        timing, lines = Timing(), {}
        try:
            hypotheses = decoder.decode(waveforms, timing)
        except NotFinite as error:
            raise UserError(
                f"cut {utterances[indices[error.index]].id}: the encoder gives NaN or infinity at tier {decoder.tier.name}; "
                f"is its waveform beyond all measure? If not, the model is damaged: look at the losses of its train.csv"
            ) from error
        for index, hypothesis in zip(indices, hypotheses, strict=True):
            utterance = utterances[index]
            lines[index] = {
                "id": utterance.id,
                "block": utterance.block,
                "duration_s": utterance.duration_s,
                "ref": utterance.text,
                "hyp": decoder.text(hypothesis),
                "tokens": decoder.emitted(hypothesis),
            }
        tokens = sum(len(line["tokens"]) for line in lines.values())
        journal.close_batch(lines, {"timing": vars(timing), "tokens": tokens, "measured_on": measured_on})
        if ticker.due():
            _LOG.info("%d of %d utterances", len(journal.finished), len(utterances))
    times = [Timing(**record["timing"]) for record in journal.records]
    return Decoded(
        Timing(sum(part.features_s for part in times), sum(part.encode_decode_s for part in times)),
        sum(record["tokens"] for record in journal.records),
        {
            name: value if all(record["measured_on"][name] == value for record in journal.records) else None
            for name, value in measured_on.items()
        },
    )


def batch_check(decoder: Decoder, utterances: Sequence[Utterance], batch_size: int, journal: Journal) -> dict[str, Any]:
    """Decode some utterances of a decoded test set again, one by one and chunk by chunk, to compare them and to time chunks.

    Floating point sums in another order where matrices have other shapes. `differing_utterances` have other tokens or other
    times in `journal`; `max_logit_difference` is over all frames, before any token, against batches of at most `batch_size`.
    `chunk_ms_*` is what one live stream waits for.
    """
    # From short to long, but no minutes: this is done for every model, precision and tier.
    by_length = sorted(range(len(utterances)), key=lambda index: utterances[index].duration_s)
    short = [index for index in by_length if utterances[index].duration_s <= _CHECKED_S]
    chosen: list[int] = []
    for place in dict.fromkeys(int(share * (len(short) - 1)) for share in _CHECKED_SHARES if short):
        if sum(utterances[index].duration_s for index in chosen) < _CHECKED_S:
            chosen.append(short[place])
    sample_rate = int(decoder.model.cfg.preprocessor.sample_rate)
    if chosen:
        waveforms = [load_audio(utterances[index], sample_rate) for index in chosen]
        decoded = [journal.line(index)["tokens"] for index in chosen]
    else:
        waveforms = [load_audio(utterances[by_length[0]], sample_rate)[: round(_CHECKED_S * sample_rate)]]
        decoded = [decoder.emitted(hypothesis) for hypothesis in decoder.decode(waveforms)]
    live, chunks_ms = decoder.chunk_by_chunk(), []
    live.decode(waveforms[:1])  # what the first call sets up is no time of a chunk
    alone = [live.emitted(live.decode([samples], steps_ms=chunks_ms)[0]) for samples in waveforms]
    differences = []
    for indices in batches([len(samples) for samples in waveforms], batch_size):
        together = decoder.logits([waveforms[index] for index in indices])
        for index, logits in zip(indices, together, strict=True):
            if logits.numel():
                differences.append(float((live.logits([waveforms[index]])[0] - logits).abs().max()))
    return {
        "utterances": len(waveforms),
        "differing_utterances": sum(left != right for left, right in zip(alone, decoded, strict=True)),
        "max_logit_difference": max(differences, default=0.0),
        "chunks": 0 if decoder.tier.offline else len(chunks_ms),
        "chunk_ms_median": None if decoder.tier.offline else percentile(chunks_ms, 0.5),
        "chunk_ms_p95": None if decoder.tier.offline else percentile(chunks_ms, 0.95),
    }


# ---- hypothesis files --------------------------------------------------------------------------------------------------------


def fingerprint(**parts: Any) -> str:
    """Digest of everything that a hypothesis file depends on."""
    return hashlib.sha256(json.dumps({"recipe": RECIPE, **parts}, sort_keys=True).encode()).hexdigest()


def header_path(hypotheses: str | Path) -> Path:
    """`fleurs.jsonl` has its header in `fleurs.json`."""
    return Path(hypotheses).with_suffix(".json")


def is_current(hypotheses: str | Path, wanted: str) -> bool:
    """Whether a hypothesis file was made of exactly this, and is whole."""
    header = header_path(hypotheses)
    if not (header.is_file() and Path(hypotheses).is_file()):
        return False
    try:
        found = files.read_json(header)
    except ValueError:
        return False
    return found.get("fingerprint") == wanted and found.get("hypotheses_sha256") == files.digest(hypotheses)


def journal_path(hypotheses: str | Path) -> Path:
    """Where an unfinished `fleurs.jsonl` grows: `.fleurs.journal` beside it."""
    return Path(hypotheses).with_name(f".{Path(hypotheses).stem}.journal")


def write_hypotheses(path: str | Path, lines: Iterable[dict[str, Any]], header: dict[str, Any]) -> None:
    """Write the lines, then the header that vouches for them."""
    with files.atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    files.write_json(header_path(path), {**header, "hypotheses_sha256": files.digest(path)})


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of `values` lie (nearest rank), None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    # Less a hair: 0.95 * 20 is a little over 19 in floating point.
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]
