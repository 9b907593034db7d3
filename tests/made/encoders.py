"""Donors of `wav2vec2_ctc` in miniature, one of each architecture, of the least size that 4 bits
fit."""

from pathlib import Path

from made.whisper import whisper_snapshot

RAW_AUDIO = ("wav2vec2-base", "wav2vec2-large", "hubert-base")
NAMES = (*RAW_AUDIO, "w2v-bert", "whisper")


def donor(folder: Path, name: str, **changes) -> None:
    """A snapshot as a hub has it."""
    import test_w2v_bert
    import test_wav2vec2

    if name == "w2v-bert":
        test_w2v_bert.snapshot(folder, hidden_size=64, intermediate_size=64, **changes)
    elif name == "whisper":
        whisper_snapshot(folder, d_model=64, encoder_ffn_dim=64, **changes)
    else:
        test_wav2vec2.snapshot(folder, name, hidden_size=64, intermediate_size=64, **changes)
