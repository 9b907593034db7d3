"""Settings of a Whisper, as the files of a snapshot give them. Standard library only.

A donor is data: known keys are taken, each with its type and range, and no class is ever named by
it.
"""

from collections.abc import Mapping
from typing import Any

from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.architectures.checks import Key, NotFit, count, flag, read_keys
from warmstart.models.wav2vec2.architectures.whisper import Whisper as Encoder
from warmstart.models.whisper import vocabulary
from warmstart.models.whisper.vocabulary import Tokens
from warmstart.run.errors import UserError

ENCODER = Encoder()

WINDOW_S = 30.0
"""What every published Whisper hears at once (arXiv 2212.04356, section 2.2)."""

LONGEST_TEXT = 448
"""Positions of the decoder of every published Whisper."""

# The defaults are those of transformers 5.23.
_KEYS: dict[str, Key] = {
    "decoder_layers": (count(256), 4),
    "decoder_attention_heads": (count(256), 6),
    "decoder_ffn_dim": (count(65536), 1536),
    "vocab_size": (count(1_000_000), 51865),
    "max_target_positions": (count(LONGEST_TEXT), LONGEST_TEXT),
    "scale_embedding": (flag, False),
}
_SUPPRESSED = ("suppress_tokens", "begin_suppress_tokens")
# Those that a fine-tuning may have of its own.
DROPOUTS = ENCODER.dropouts


def read(
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    generation: Mapping[str, Any],
    tokenizer: bytes,
    where: str,
) -> tuple[dict[str, Any], Tokens]:
    """Settings of a Whisper, checked.

    Args:
        config, preprocessing, generation: of `config.json`, `preprocessor_config.json` and
            `generation_config.json`; the last two may be empty. They are read again from a saved
            model: given as all three, they give themselves.
        tokenizer: of `tokenizer.json`.
        where: the init, for messages.

    Returns:
        Every setting that changes what the same weights compute or write, and the ids of tokens
        that are no text.

    Raises:
        UserError: another kind of model, a value that is out of range, or a tokenizer of another
            model.
    """
    if (found := config.get("model_type", config.get("architecture"))) != "whisper":
        raise UserError(
            f"{where}: model_type is {found!r}, and this family starts from whisper; take another "
            "family (wav2vec2_ctc knows some encoders), or another init"
        )
    rate = preprocessing.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{where}: its sampling_rate is {rate!r} Hz, and a Whisper hears {SAMPLE_RATE} Hz: "
            "take another checkpoint"
        )
    made = ENCODER.read({**config, "model_type": "whisper"}, preprocessing, where)
    made |= read_keys(_KEYS, config, where)
    if made["d_model"] % made["decoder_attention_heads"]:
        raise UserError(
            f"{where}: d_model {made['d_model']} is no multiple of decoder_attention_heads "
            f"{made['decoder_attention_heads']}"
        )
    if config.get("tie_word_embeddings", True) is not True:
        raise UserError(
            f"{where}: tie_word_embeddings is {config['tie_word_embeddings']!r}; a Whisper reads "
            "and writes with one table: take another checkpoint"
        )
    # openai/whisper, model.py: a model with fewer tokens is of English alone.
    multilingual = generation.get("is_multilingual", made["vocab_size"] != 51864)
    tokens = vocabulary.read(tokenizer, where, multilingual=multilingual is not False)
    vocabulary.require_fit(tokens, {**config, **made}, where)
    made["is_multilingual"] = bool(tokens.languages)
    pad = config.get("pad_token_id")
    pad_key = {"pad_token_id": (_token(made["vocab_size"]), tokens.end)}
    made |= read_keys(pad_key, {"pad_token_id": pad}, where)
    for key in _SUPPRESSED:
        said = generation.get(key) if generation.get(key) is not None else config.get(key)
        made |= read_keys({key: (_tokens(made["vocab_size"]), [])}, {key: said}, where)
    return made, tokens


def _token(size: int) -> Any:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < size:
            raise NotFit(f"a token of its {size}")
        return value

    return check


def _tokens(size: int) -> Any:
    one = _token(size)

    def check(value: Any) -> list[int]:
        if not isinstance(value, list):
            raise NotFit("a list of tokens")
        return sorted({one(each) for each in value})

    return check
