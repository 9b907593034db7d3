"""The tokens of a Whisper, as `tokenizer.json` of a snapshot has them. Standard library only.

A tokenizer is data: known parts are taken, and no class is named by it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warmstart.run.errors import UserError

TOKENIZER = "tokenizer.json"

END, START = "<|endoftext|>", "<|startoftranscript|>"
TRANSCRIBE, NO_TIMESTAMPS = "<|transcribe|>", "<|notimestamps|>"

MARKS_OF_TIME = 1501
"""0 to 30 s by 20 ms, the last tokens of every published Whisper (openai/whisper, tokenizer.py)."""

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")

# openai/whisper, tokenizer.py: all languages of large-v3, of which earlier ones lack `yue`.
_PUBLISHED = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th "
    "ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr "
    "pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt "
    "haw ln ha ba jw su yue"
)
PUBLISHED_LANGUAGES: tuple[str, ...] = tuple(_PUBLISHED.split())


@dataclass(frozen=True)
class Tokens:
    """Ids of the tokens that are no text.

    Attributes:
        end, start, transcribe, no_timestamps: of the task.
        languages: code of Whisper -> id; empty of a model of English alone.
    """

    end: int
    start: int
    transcribe: int
    no_timestamps: int
    languages: Mapping[str, int]

    @property
    def size(self) -> int:
        """Of the vocabulary, marks of time among it."""
        return self.no_timestamps + 1 + MARKS_OF_TIME


def read(text: bytes, where: str, *, multilingual: bool = True) -> Tokens:
    """Ids of the tokens that are no text.

    Args:
        text: of `tokenizer.json`.
        where: the file, for messages.
        multilingual: whether the model knows more than English; the tokenizers of those that do
            not name languages all the same.

    Raises:
        UserError: no tokenizer, or none of a Whisper.
    """
    try:
        found = json.loads(text)
        added = {str(one["content"]): int(one["id"]) for one in found["added_tokens"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{where}: its {TOKENIZER} is no tokenizer ({error!r}); fetch it again"
        ) from None
    if lacking := [name for name in (END, START, TRANSCRIBE, NO_TIMESTAMPS) if name not in added]:
        raise UserError(
            f"{where}: its {TOKENIZER} lacks {', '.join(lacking)}, so it is none of a Whisper; "
            "fetch config.json, weights and tokenizer from one revision"
        )
    languages = {
        match[1]: number for name, number in added.items() if (match := _LANGUAGE.fullmatch(name))
    }
    return Tokens(
        added[END],
        added[START],
        added[TRANSCRIBE],
        added[NO_TIMESTAMPS],
        dict(sorted(languages.items(), key=lambda one: one[1])) if multilingual else {},
    )


def require_fit(tokens: Tokens, config: Mapping[str, Any], where: str) -> None:
    """Refuse a tokenizer of another Whisper.

    Args:
        config: `vocab_size`, `eos_token_id` and `decoder_start_token_id` of `config.json`; the last
            two may be None.

    Raises:
        UserError: with both values.
    """
    pairs = (
        ("vocab_size", config["vocab_size"], tokens.size),
        ("eos_token_id", config.get("eos_token_id"), tokens.end),
        ("decoder_start_token_id", config.get("decoder_start_token_id"), tokens.start),
    )
    for key, said, own in pairs:
        if said is not None and said != own:
            raise UserError(
                f"{where}: {key} of its config.json is {said}, and its {TOKENIZER} makes it {own}: "
                "they are of different models; fetch both from one revision"
            )
