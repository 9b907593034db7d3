"""Cache-aware streaming decode of a transducer: batched, chunk by chunk, with the tokens of the same-mask full forward.

A chunk of a tier with right context R is R + 1 encoder frames. The encoder is 8-fold causal, so the first chunk takes 1 + 8 R
feature frames and every later one 8 (R + 1), preceded by 9 frames that it has seen before (the two frames that those 9 give
again are dropped behind the subsampling). These are NeMo's native chunks; its `pad_and_drop_preencoded` shifts the frames and
does not equal the full forward. NeMo's own `CacheAwareStreamingAudioBuffer` also leaves out a last chunk of less than 8 feature
frames, of which the full forward makes one more encoder frame: the chunks are therefore cut here.

NeMo, torch and ONNX Runtime are imported inside functions: importing NeMo costs 8 s, and a program that finds its outputs
current must not pay them.
"""

import copy
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from warmstart import cuts as manifest_lines
from warmstart import files
from warmstart.errors import UserError
from warmstart.logs import MinuteTicker, route_nemo_logs
from warmstart.tier import FRAME_S, Seconds, Tier

if TYPE_CHECKING:
    import torch

# Raise when a change of this module or of quantization.py can change a token, a time or a measured column of hypotheses.
RECIPE = 1

_LOG = logging.getLogger("warmstart.streaming")


# ---- what is decoded ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Utterance:
    """One line of a test manifest."""

    id: str
    block: str
    duration_s: Seconds
    text: str
    cut: dict[str, Any] = field(repr=False)


@dataclass
class Hypothesis:
    """Greedy tokens of one utterance and the encoder frames that emitted them."""

    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    encoder_frames: int = 0


@dataclass
class Timing:
    """Wall times of a decode, without loading model and audio."""

    features_s: Seconds = 0.0
    encode_decode_s: Seconds = 0.0
    chunks_ms: list[float] = field(default_factory=list)

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
    for cut in manifest_lines.read(path):
        supervision = manifest_lines.supervision(cut)
        custom = manifest_lines.first_part(cut).get("custom") or {}
        block = custom.get("block") or supervision.get("speaker") or cut["id"]
        utterances.append(Utterance(cut["id"], str(block), manifest_lines.duration_s(cut), supervision.get("text") or "", cut))
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
        UserError: cannot be read, more than one channel, or holds NaN or infinity.
    """
    import numpy
    from lhotse.serialization import deserialize_item

    cut = deserialize_item(copy.deepcopy(utterance.cut))  # it takes its argument apart
    try:
        samples = (cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)).load_audio()
    except Exception as error:  # whatever the audio backend raises
        raise UserError(f"cut {utterance.id}: audio cannot be read ({error}); run prepare_manifest again") from error
    if samples.shape[0] != 1:
        raise UserError(f"cut {utterance.id}: {samples.shape[0]} channels, 1 is needed; mix it down in the manifest")
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


def load_model(path: str | Path, device: str = "cpu"):
    """Restore a transducer for inference: eval mode, no dither, no padding of features, float32.

    Raises:
        UserError: no such file, not a `.nemo`, or not a transducer with a cache-aware Conformer encoder.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such model; train it first (rule train)")
    import nemo.collections.asr as nemo_asr
    from nemo.core.classes.common import typecheck

    route_nemo_logs()
    try:
        model = nemo_asr.models.ASRModel.restore_from(str(path), map_location=device)
    except Exception as error:  # tarfile, yaml, pickle, NeMo: the class says nothing
        raise UserError(f"{path}: cannot be restored as a NeMo model ({type(error).__name__}: {error})") from error
    if not isinstance(model, nemo_asr.models.EncDecRNNTModel) or not hasattr(model.encoder, "cache_aware_stream_step"):
        raise UserError(
            f"{path}: {type(model).__name__} is not a transducer with a cache-aware encoder; decode such a model only"
        )
    # Type checks cost as much as a small encoder's step; shapes are fixed here.
    typecheck.set_typecheck_enabled(False)
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    model.preprocessor.featurizer.pad_to = 0
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

    def cut(self, features: "torch.Tensor", lengths: "torch.Tensor") -> Iterator[tuple["torch.Tensor", "torch.Tensor", int]]:
        """Cut a batch into chunks of constant size; utterances that are over leave from the end.

        Args:
            features: (B, F, T), utterances by falling length.
            lengths: (B,) feature frames.

        Yields:
            (n, F, `first`), then (n, F, `again + later`), zero behind the end of an utterance; (n,) lengths that count `again`;
            and the number of encoder frames to drop, which were given before. Every one of the n utterances has at least one
            new frame in its chunk.
        """
        import torch

        counts = lengths.tolist()
        start, size, again = 0, self.first, 0
        while True:
            active = sum(count > start for count in counts)
            if not active:
                return
            chunk = features[:active, :, start - again : start + size]
            missing = again + size - chunk.shape[2]
            if missing:
                chunk = torch.nn.functional.pad(chunk, (0, missing))
            # 8-fold causal: 8 k + 1 feature frames give k + 1 encoder frames.
            yield chunk, (lengths[:active] - start).clamp(max=size) + again, 1 + (again - 1) // 8 if again else 0
            start, size = start + size, self.later
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
        """Encode one chunk from `ChunkShape.cut`: (B, R + 1, D) encoder frames, (B,) lengths, next caches."""


class TorchEncoder:
    """NeMo's `cache_aware_stream_step`."""

    def __init__(self, encoder):
        self._encoder = encoder

    def start(self, batch: int) -> Any:
        """Zero caches: (layers, B, left, D), (layers, B, D, kernel - 1), lengths (B,)."""
        return self._encoder.get_initial_cache_state(batch_size=batch)

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""
        channel, convolution, lengths = caches
        return channel[:, :batch], convolution[:, :batch], lengths[:batch]

    def step(
        self, chunk: "torch.Tensor", lengths: "torch.Tensor", dropped: int, caches: Any
    ) -> tuple["torch.Tensor", "torch.Tensor", Any]:
        """See `Encoder.step`."""
        channel, convolution, cached = caches
        encoded, encoded_lengths, *following = self._encoder.cache_aware_stream_step(
            processed_signal=chunk,
            processed_signal_length=lengths,
            cache_last_channel=channel,
            cache_last_time=convolution,
            cache_last_channel_len=cached,
            drop_extra_pre_encoded=dropped,
        )
        return encoded.transpose(1, 2), encoded_lengths, tuple(following)


class OnnxEncoder:
    """A native-step export (`quantization.export_native`) in ONNX Runtime on the CPU.

    Raises:
        UserError: on construction: no such file, not loadable, made of another model or for another tier.
    """

    def __init__(self, path: str | Path, tier: Tier, model_sha256: str | None = None, threads: int = 1):
        import onnxruntime

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
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._cache_shapes = [value.shape[1:] for value in self._session.get_inputs()[2:4]]

    def start(self, batch: int) -> Any:
        """Zero caches, batch first: (B, layers, left, D), (B, layers, D, kernel - 1), lengths (B,)."""
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


class Decoder:
    """Greedy decode at one tier.

    Args:
        model: from `load_model`.
        tier: must be among the contexts of the model (UserError otherwise).
        encoder: steps through this instead of the model's own encoder; not for offline tiers.
    """

    def __init__(self, model, tier: Tier, encoder: Encoder | None = None):
        from nemo.collections.asr.parts.submodules.transducer_decoding import GreedyBatchedRNNTLabelLoopingComputer

        set_tier(model.encoder, tier)
        self.model = model
        self.tier = tier
        self.device = next(model.parameters()).device
        self._shape = ChunkShape.of(model.encoder)
        self._encoder = encoder or TorchEncoder(model.encoder)
        greedy = model.cfg.decoding.get("greedy") or {}
        self._search = GreedyBatchedRNNTLabelLoopingComputer(
            decoder=model.decoder,
            joint=model.joint,
            blank_index=model.joint.num_classes_with_blank - 1,
            # A frame may emit this many symbols; NeMo's default guards against endless loops.
            max_symbols_per_step=greedy.get("max_symbols") or 10,
            # Graphs are captured for one batch size, and the batch shrinks here.
            allow_cuda_graphs=False,
        )

    def decode(self, waveforms: Sequence, timing: Timing | None = None) -> list[Hypothesis]:
        """Decode a batch.

        Args:
            waveforms: float32 arrays (samples,) in any order; the batch is sorted by length inside.
            timing: is added to.

        Returns:
            One hypothesis a waveform, in the order given. Audio shorter than one feature frame (10 ms) gives an empty one.
        """
        import torch

        timing = timing if timing is not None else Timing()
        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        hypotheses = [Hypothesis() for _ in waveforms]
        with torch.inference_mode():
            started = self._now()
            features, lengths = self._features([waveforms[index] for index in order])
            timing.features_s += self._now() - started
            started = self._now()
            if self.tier.offline:
                self._full([hypotheses[index] for index in order], features, lengths)
            else:
                self._stream([hypotheses[index] for index in order], features, lengths, timing)
            timing.encode_decode_s += self._now() - started
        return hypotheses

    def _features(self, waveforms: list) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Log-mel features (B, F, T) and their lengths (B,)."""
        import torch

        lengths = torch.tensor([len(samples) for samples in waveforms], device=self.device)
        batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(samples) for samples in waveforms], batch_first=True)
        return self.model.preprocessor(input_signal=batch.to(self.device), length=lengths)

    def _full(self, hypotheses: list[Hypothesis], features: "torch.Tensor", lengths: "torch.Tensor") -> None:
        """One forward over whole utterances under the tier's mask."""
        heard = int((lengths > 0).sum())
        if not heard:
            return
        encoded, encoded_lengths = self.model.encoder(audio_signal=features[:heard], length=lengths[:heard])[:2]
        self._extend(hypotheses, encoded.transpose(1, 2), encoded_lengths, None)

    def _stream(self, hypotheses: list[Hypothesis], features: "torch.Tensor", lengths: "torch.Tensor", timing: Timing) -> None:
        """Chunk by chunk, caches and predictor state carried; utterances by falling length."""
        caches = state = None
        for chunk, chunk_lengths, dropped in self._shape.cut(features, lengths):
            started = self._now()
            batch = len(chunk)
            caches = self._encoder.start(batch) if caches is None else self._encoder.narrow(caches, batch)
            state = None if state is None else _narrow_state(state, batch)
            encoded, encoded_lengths, caches = self._encoder.step(chunk, chunk_lengths, dropped, caches)
            state = self._extend(hypotheses, encoded, encoded_lengths, state)
            timing.chunks_ms.append(1000 * (self._now() - started))

    def _extend(self, hypotheses: list[Hypothesis], encoded: "torch.Tensor", lengths: "torch.Tensor", state):
        """Search (B, T, D) encoder frames on from `state`, append what is found, give the next state."""
        found, state = self._search(x=encoded, out_len=lengths, prev_batched_state=state)
        counts = found.current_lengths.tolist()
        width = max(counts)
        tokens, frames = found.transcript[:, :width].tolist(), found.timestamps[:, :width].tolist()
        for hypothesis, count, row, times, length in zip(hypotheses, counts, tokens, frames, lengths.tolist(), strict=False):
            hypothesis.tokens += row[:count]
            hypothesis.frames += times[:count]
            hypothesis.encoder_frames += length
        return state

    def _now(self) -> Seconds:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def emission_s(self, hypothesis: Hypothesis) -> list[Seconds]:
        """When each token could be shown, in seconds of audio.

        At a streaming tier a frame waits for the last frame of its chunk (or of the utterance); in the full forward it is
        counted at its own position. The difference of the two is the delay of a token against a recogniser that need not wait.
        """
        if self.tier.offline:
            return [round(frame * FRAME_S, 2) for frame in hypothesis.frames]
        size, last = self.tier.right + 1, hypothesis.encoder_frames - 1
        return [round(min((frame // size + 1) * size - 1, last) * FRAME_S, 2) for frame in hypothesis.frames]

    def text(self, hypothesis: Hypothesis) -> str:
        """Raw text of a hypothesis."""
        return self.model.tokenizer.ids_to_text(hypothesis.tokens)

    def pieces(self, hypothesis: Hypothesis) -> list[str]:
        """SentencePiece pieces of a hypothesis."""
        return list(self.model.tokenizer.ids_to_tokens(hypothesis.tokens))


def _narrow_state(state, batch: int):
    """The first `batch` utterances of NeMo's `BatchedLabelLoopingState` with an LSTM predictor: (layers, B, H) states."""
    if len(state.labels) == batch:
        return state
    narrowed = copy.copy(state)
    # Contiguous, because the search writes into its states in place.
    narrowed.predictor_states = tuple(part[:, :batch].contiguous() for part in state.predictor_states)
    narrowed.predictor_outputs = state.predictor_outputs[:batch]
    narrowed.labels = state.labels[:batch]
    narrowed.decoded_lengths = state.decoded_lengths[:batch]
    return narrowed


def batches(utterances: Sequence[Utterance], size: int) -> Iterator[list[int]]:
    """Indices of `utterances`, longest first, `size` at a time: short ones do not wait for long ones."""
    order = sorted(range(len(utterances)), key=lambda index: -utterances[index].duration_s)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def decode_test_set(decoder: Decoder, utterances: Sequence[Utterance], batch_size: int) -> tuple[list[dict[str, Any]], Timing]:
    """Decode a test set; memory is bounded by the batch.

    Returns:
        The lines of the hypothesis file, in the order of `utterances`, and the times.

    Raises:
        UserError: audio that cannot be read or holds NaN.
    """
    timing = Timing()
    lines: list[dict[str, Any] | None] = [None] * len(utterances)
    sample_rate = int(decoder.model.cfg.preprocessor.sample_rate)
    ticker, done = MinuteTicker(), 0
    for indices in batches(utterances, batch_size):
        waveforms = [load_audio(utterances[index], sample_rate) for index in indices]
        for index, hypothesis in zip(indices, decoder.decode(waveforms, timing), strict=True):
            utterance = utterances[index]
            times = zip(decoder.pieces(hypothesis), decoder.emission_s(hypothesis), strict=True)
            lines[index] = {
                "id": utterance.id,
                "block": utterance.block,
                "duration_s": utterance.duration_s,
                "ref": utterance.text,
                "hyp": decoder.text(hypothesis),
                "tokens": [{"piece": piece, "time_s": seconds} for piece, seconds in times],
            }
        done += len(indices)
        if ticker.due():
            _LOG.info("%d of %d utterances", done, len(utterances))
    return lines, timing


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


def write_hypotheses(path: str | Path, lines: Sequence[dict[str, Any]], header: dict[str, Any]) -> None:
    """Write the lines, then the header that vouches for them."""
    files.write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    files.write_json(header_path(path), {**header, "hypotheses_sha256": files.digest(path)})


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of `values` lie (nearest rank), None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
