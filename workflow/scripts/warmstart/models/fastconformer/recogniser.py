"""A FastConformer in memory, with a transducer or a CTC head, as the study sees it."""

from pathlib import Path
from typing import Any

import torch

from warmstart.models import quantised_weights
from warmstart.models.base import Decoder, EncoderFile, EncoderGraph, Listener, Recogniser
from warmstart.models.batches import Batch
from warmstart.models.fastconformer import (
    adapters,
    chunks,
    ctc_search,
    decoder,
    load,
    onnx_export,
    onnx_parity,
    settings_classes,
    sherpa_networks,
)
from warmstart.models.fastconformer.found import FRAME_S, Search
from warmstart.models.fastconformer.nemo_file import SameBytes
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.tier import Tier

_PARITY_CHUNKS = 4


class FastConformer(Recogniser):
    """What both heads share.

    Args:
        model: of NeMo.
        heads: names of its modules behind the encoder.
        loaded_tensors: how many tensors of the encoder came from a donor.
    """

    def __init__(self, model: Any, heads: tuple[str, ...], loaded_tensors: int = 0):
        settings_classes.allow()
        self.lightning = self.model = model
        self.sample_rate = int(model.cfg.preprocessor.sample_rate)
        self.frame_s = FRAME_S
        self.loaded_tensors = loaded_tensors
        self.heads = heads

    def parts(self) -> dict[str, torch.nn.Module]:
        """The encoder, then what is behind it."""
        return {name: getattr(self.model, name) for name in ("encoder", *self.heads)}

    def blocks(self) -> list[torch.nn.Module]:
        """The subsampling, then the layers of the encoder."""
        return [self.model.encoder.pre_encode, *self.model.encoder.layers]

    def add_adapters(self, dim: int, seed: int) -> None:
        """See `adapters.add_adapters`."""
        adapters.add_adapters(self.model, dim, seed)

    def kept_in_float32(self) -> list[torch.nn.Module]:
        """The mel spectrogram. Not all of the preprocessor, whose sentinel tells it which type the
        encoder wants."""
        return [self.model.preprocessor.featurizer]

    def encode(self, text: str) -> list[int]:
        """SentencePiece ids."""
        return self.model.tokenizer.text_to_ids(text)

    def before_fit(self, trainer: Any, loader: Any) -> None:
        """Tell NeMo whose loop it is in."""
        self.model.set_trainer(trainer)
        self.model._train_dl = loader
        # Else the encoder asks all processes for their longest utterance in every forward, and
        # validation has not as many for each.
        self.model.encoder.sync_max_audio_length = False

    def save(self, path: Path) -> None:
        """Write the `.nemo`. Training settings do not travel with it."""
        self.model._save_restore_connector = SameBytes()
        # Where the tokenizer lay on this machine; the archive has its own.
        self.model.cfg.tokenizer.dir = "."
        self.model.save_to(str(path))

    def as_published(self, tier: Tier) -> Tier:
        """With the left context that a donor was trained with for this lookahead."""
        return chunks.own_left(self.model.encoder, tier)

    def decoder(
        self, tier: Tier, encoder: EncoderFile | None = None, prompt: str | None = None
    ) -> Decoder:
        """With a quantised encoder ONNX Runtime computes the steps of a stream on the CPU; on a GPU
        and for offline tiers PyTorch does, with the dequantised weights of the file."""
        load.set_prompt(self.model, prompt)
        if encoder is None:
            return decoder.Decoder(self.model, tier, search=self._search())
        steps = OnnxEncoder(encoder.path, tier, encoder.model_sha256, encoder.threads)
        if tier.offline or next(self.model.parameters()).is_cuda:
            quantised_weights.load(self.model.encoder, encoder.path)
            return decoder.Decoder(self.model, tier, search=self._search())
        return decoder.Decoder(self.model, tier, steps, search=self._search())

    def listener(self, tier: Tier) -> Listener:
        """Its encoder, whatever head it has."""
        from warmstart.models.fastconformer.listener import EncoderListener

        return EncoderListener(self.model, tier)

    def _search(self) -> Search | None:
        """None = that of a transducer."""
        return None

    def export_encoder(self, tier: Tier) -> EncoderGraph:
        """See `onnx_export.export`; the projections of the positional table are constants."""
        return EncoderGraph(
            onnx_export.export(self.model.encoder, tier),
            self.model.encoder,
            constants={
                name: "folded with the positional table into a constant of this tier"
                for name, _ in self.model.encoder.named_parameters()
                if "linear_pos" in name
            },
        )

    def export_parity(self, tier: Tier, path: Path) -> dict[str, Any]:
        """See `onnx_parity.largest_difference`."""
        difference = onnx_parity.largest_difference(self.model.encoder, tier, path, _PARITY_CHUNKS)
        return {"max_abs": difference, "chunks": _PARITY_CHUNKS}


class TransducerModel(FastConformer):
    """With an LSTM predictor and a joint.

    Args:
        model: `EncDecRNNTModel`.
    """

    def __init__(self, model: Any, loaded_tensors: int = 0):
        super().__init__(model, ("decoder", "joint"), loaded_tensors)

    def evaluate(self, batch: Batch) -> tuple[float, list[str]]:
        """Loss of the joint, and NeMo's greedy search of the full forward."""
        model = self.model
        encoded, encoded_len = model.forward(
            input_signal=batch.audio, input_signal_length=batch.audio_len
        )
        predicted, target_len, _ = model.decoder(
            targets=batch.tokens, target_length=batch.token_len
        )
        if model.joint.fuse_loss_wer:
            value, *_ = model.joint(
                encoder_outputs=encoded,
                decoder_outputs=predicted,
                encoder_lengths=encoded_len,
                transcripts=batch.tokens,
                transcript_lengths=batch.token_len,
                compute_wer=False,
            )
        else:
            joint = model.joint(encoder_outputs=encoded, decoder_outputs=predicted)
            value = model.loss(
                log_probs=joint,
                targets=batch.tokens,
                input_lengths=encoded_len,
                target_lengths=target_len,
            )
        found = model.decoding.rnnt_decoder_predictions_tensor(
            encoder_output=encoded, encoded_lengths=encoded_len
        )
        return float(value), [hypothesis.text for hypothesis in found]

    def write_networks(self, tier: Tier, folder: Path, quantise: Any) -> dict[str, Any]:
        """See `sherpa_networks.write_transducer`."""
        return sherpa_networks.write_transducer(self.model, tier, folder, quantise)


class CtcModel(FastConformer):
    """With a CTC head.

    Args:
        model: `EncDecCTCModel`, or for decoding a hybrid one.
    """

    def __init__(self, model: Any, loaded_tensors: int = 0):
        self._head = load.ctc_head(model)
        name = "decoder" if self._head is model.decoder else "ctc_decoder"
        super().__init__(model, (name,), loaded_tensors)

    def _search(self) -> Search:
        return ctc_search.CtcSearch(self._head)

    def ctc_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Of the encoder; NeMo's own arithmetic."""
        from nemo.collections.asr.parts.submodules.subsampling import calc_length

        front = self.model.encoder.pre_encode
        return calc_length(
            self.model.preprocessor.featurizer.get_seq_len(samples),
            all_paddings=front._left_padding + front._right_padding,
            kernel_size=front._kernel_size,
            stride=front._stride,
            ceil_mode=front._ceil_mode,
            repeat_num=front._sampling_num,
        )

    def evaluate(self, batch: Batch) -> tuple[float, list[str]]:
        """CTC loss, and NeMo's greedy search of the full forward."""
        model = self.model
        log_probs, lengths, _ = model.forward(
            input_signal=batch.audio, input_signal_length=batch.audio_len
        )
        value = model.loss(
            log_probs=log_probs,
            targets=batch.tokens,
            input_lengths=lengths,
            target_lengths=batch.token_len,
        )
        found = model.decoding.ctc_decoder_predictions_tensor(log_probs, decoder_lengths=lengths)
        return float(value), [hypothesis.text for hypothesis in found]

    def write_networks(self, tier: Tier, folder: Path, quantise: Any) -> dict[str, Any]:
        """See `sherpa_networks.write_ctc`."""
        return sherpa_networks.write_ctc(self.model, self._head, tier, folder, quantise)
