"""Texts as tokens of a Whisper, and back."""

import functools

from warmstart.models.base import Vocabulary
from warmstart.models.whisper.vocabulary import Tokens
from warmstart.run.errors import UserError


class Text:
    """The tokenizer of a Whisper.

    Args:
        tokenizer: the bytes of `tokenizer.json`.
        tokens: ids of those that are no text.
        where: the model, for messages.

    Raises:
        UserError: no tokenizer.
    """

    def __init__(self, tokenizer: bytes, tokens: Tokens, where: str = "the model"):
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(tokenizer.decode("utf-8"))
        except Exception as error:  # the library raises nothing more special
            raise UserError(
                f"{where}: its tokenizer cannot be read ({error}); fetch it again"
            ) from None
        self._tokenizer.encode_special_tokens = True  # <|fr|> in a text is text
        self._tokens = tokens

    def encode(self, text: str) -> list[int]:
        """Ids of normalised text, without those of the task. A space stands in front, because
        Whisper writes one (openai/whisper, tokenizer.py)."""
        text = text.strip()
        if not text:
            return []
        return self._tokenizer.encode(f" {text}", add_special_tokens=False).ids

    def decode(self, tokens: list[int]) -> str:
        """The text of ids; those that are no text are left out."""
        return self._tokenizer.decode(self._of_text(tokens)).strip()

    def pieces(self, tokens: list[int]) -> list[str]:
        """Each id as text; `<|fr|>` and the like as they are called."""
        texts = self.vocabulary.pieces
        return [texts[token] or self._tokenizer.id_to_token(token) or "" for token in tokens]

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """Of all tokens, marks of time among them, which are no text."""
        found = [""] * self._tokens.size
        for token in range(self._tokens.end):
            if (name := self._tokenizer.id_to_token(token)) is not None:
                found[token] = _shown(name)
        return Vocabulary(tuple(found))

    def raw(self, token: int) -> bytes:
        """The bytes of an id of text; empty of one that is none."""
        name = self._tokenizer.id_to_token(token)
        table = _bytes()
        if name is None or not all(character in table for character in name):
            return b""
        return bytes(table[character] for character in name)

    def _of_text(self, tokens: list[int]) -> list[int]:
        return [token for token in tokens if token < self._tokens.end]


def _shown(name: str) -> str:
    """A token of a byte-level vocabulary as SentencePiece would show it: `▁` where a word begins,
    `<0xE2>` for a byte of a character that is split."""
    table = _bytes()
    if not all(character in table for character in name):
        return name
    raw = bytes(table[character] for character in name)
    try:
        return raw.decode("utf-8").replace(" ", "▁")
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in raw)


@functools.cache
def _bytes() -> dict[str, int]:
    """Character of a byte-level vocabulary -> byte (openai/gpt-2, encoder.py)."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    own += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
