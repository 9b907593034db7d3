"""Architectures of encoders, by the `model_type` of their `config.json`.

An architecture is two modules here. `NAME.py` reads its settings, and a dry run imports it:
standard library only. `NAME_encoding.py` computes, with torch and transformers. Everything else of
the family sees `base.Architecture` and `base.Encoding`.
"""

from warmstart.models.wav2vec2.architectures.base import Architecture
from warmstart.models.wav2vec2.architectures.raw_audio import RawAudio
from warmstart.models.wav2vec2.architectures.w2v_bert import W2vBert
from warmstart.models.wav2vec2.architectures.whisper import Whisper

_ALL: tuple[Architecture, ...] = (RawAudio(), W2vBert(), Whisper())

ARCHITECTURES: dict[str, Architecture] = {
    name: architecture for architecture in _ALL for name in architecture.names
}
"""`model_type` of transformers -> how such an encoder is read."""
