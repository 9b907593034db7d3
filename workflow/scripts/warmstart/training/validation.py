"""Loss and word error rate on held-out cuts, by greedy decoding of the full forward."""

import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from warmstart.data.text import normalize
from warmstart.run.errors import UserError
from warmstart.training.distributed import Ranks


class Validation:
    """Loss and greedy word error rate on held-out cuts, with the first context of the study.

    Args:
        cuts_path: a manifest; its texts are raw.
        batch_duration_s: audio in a batch.
        text: block `text` of the language, the normaliser of the training text; None where the
            texts are normalised already.
    """

    def __init__(
        self, cuts_path: str | Path, batch_duration_s: float, text: dict[str, Any] | None = None
    ):
        self._path, self._batch_duration_s, self._text = cuts_path, batch_duration_s, text
        self._batches: list[Any] | None = None

    def __call__(
        self, model: Any, ranks: Ranks | None = None, broken_off: Callable[[], int] | None = None
    ) -> dict[str, float]:
        """Evaluate; the model is in training mode again afterwards. Several processes share the
        batches.

        Args:
            model: a transducer.
            ranks: which process this is, of how many; None = the only one.
            broken_off: asked before each batch; true = stop here.

        Returns:
            `dev_loss` (mean over utterances), `dev_wer` (fraction, summed errors over summed
            words); nothing when broken off.
        """
        import jiwer

        ranks = ranks or Ranks({})
        was_training = model.training
        model.eval()
        references, hypotheses, loss, count = [], [], 0.0, 0
        with torch.no_grad():
            for texts, batch in self._load(model, ranks):
                if broken_off is not None and broken_off():
                    model.train(was_training)
                    return {}
                signal_, signal_len, tokens, token_len = (value.to(model.device) for value in batch)
                value, found = self._evaluate(model, signal_, signal_len, tokens, token_len)
                loss, count = loss + value * len(texts), count + len(texts)
                hypotheses += found
                references += texts
        model.train(was_training)
        kept = [
            (reference, hypothesis)
            for reference, hypothesis in zip(references, hypotheses, strict=True)
            if reference
        ]
        errors = words = 0
        if kept:
            counted = jiwer.process_words([one for one, _ in kept], [other for _, other in kept])
            errors = counted.substitutions + counted.deletions + counted.insertions
            words = counted.hits + counted.substitutions + counted.deletions
        loss, count, errors, words = ranks.sum(loss, count, errors, words)
        return {"dev_loss": loss / max(count, 1), "dev_wer": errors / words if words else math.nan}

    def _load(self, model: Any, ranks: Ranks) -> list[Any]:
        if self._batches is None:
            from lhotse import CutSet
            from lhotse.dataset import DynamicCutSampler
            from nemo.collections.asr.data.audio_to_text_lhotse import LhotseSpeechToTextBpeDataset

            chosen = []
            for cut in CutSet.from_jsonl_lazy(self._path):
                if self._text is not None:
                    cut.supervisions[0].text = normalize(cut.supervisions[0].text, self._text)
                chosen.append(cut.resample(16000))
            if not chosen:
                raise UserError(f"{self._path}: no cuts to validate on")
            dataset = LhotseSpeechToTextBpeDataset(model.tokenizer, return_cuts=True)
            ordered = CutSet.from_cuts(sorted(chosen, key=lambda cut: -cut.duration))
            sampler = DynamicCutSampler(ordered, max_duration=self._batch_duration_s, shuffle=False)
            self._batches = []
            for batch in islice(sampler, ranks.rank, None, ranks.world):
                *tensors, cuts = dataset[batch]
                self._batches.append(([cut.supervisions[0].text for cut in cuts], tensors))
        return self._batches

    @staticmethod
    def _evaluate(
        model: Any, signal_: Any, signal_len: Any, tokens: Any, token_len: Any
    ) -> tuple[float, list[str]]:
        """Loss and hypotheses of one batch."""
        encoded, encoded_len = model.forward(input_signal=signal_, input_signal_length=signal_len)
        decoder, target_len, _ = model.decoder(targets=tokens, target_length=token_len)
        if model.joint.fuse_loss_wer:
            value, *_ = model.joint(
                encoder_outputs=encoded,
                decoder_outputs=decoder,
                encoder_lengths=encoded_len,
                transcripts=tokens,
                transcript_lengths=token_len,
                compute_wer=False,
            )
        else:
            joint = model.joint(encoder_outputs=encoded, decoder_outputs=decoder)
            value = model.loss(
                log_probs=joint,
                targets=tokens,
                input_lengths=encoded_len,
                target_lengths=target_len,
            )
        found = model.decoding.rnnt_decoder_predictions_tensor(
            encoder_output=encoded, encoded_lengths=encoded_len
        )
        return float(value), [hypothesis.text for hypothesis in found]


class CTCValidation(Validation):
    """The same for a CTC model, whose forward ends in log-probabilities."""

    @staticmethod
    def _evaluate(
        model: Any, signal_: Any, signal_len: Any, tokens: Any, token_len: Any
    ) -> tuple[float, list[str]]:
        log_probs, lengths, _ = model.forward(input_signal=signal_, input_signal_length=signal_len)
        value = model.loss(
            log_probs=log_probs, targets=tokens, input_lengths=lengths, target_lengths=token_len
        )
        found = model.decoding.ctc_decoder_predictions_tensor(log_probs, decoder_lengths=lengths)
        return float(value), [hypothesis.text for hypothesis in found]
