"""What a model learns to write of a text: the text itself, or its phones.

Where phones are learnt, every text passes here once, when its cut is given to a model and not
before. Pools, budgets and mixtures are then the same files for all arms, and a contrast of tokens
has the same data on both sides. espeak-ng needs a third of a millisecond for a sentence.
"""

import functools
from collections.abc import Mapping
from typing import Any

from warmstart.data import espeak_ng, mixing, phones
from warmstart.run.errors import UserError

BPE, CHAR, IPA = "bpe", "char", "ipa"
"""What tokens are: pieces of words, characters, phones."""

MOST_UNITS = 10_000
"""Characters that are a token each: more than Chinese or Japanese texts have. Beyond, a text is of
another kind than it should be, and the output layer is the largest part of a small model."""

# Texts whose phones are remembered: an epoch of some hundred hours, of 300 bytes each.
_REMEMBERED = 200_000


class Targets:
    """Targets of texts in several languages.

    Args:
        tokens: of the tokenizer. Of `bpe` and `char` a target is the text.
        text: language -> its block `text`, with `espeak_voice` where tokens are `ipa`.

    Raises:
        UserError: phones of a language without a voice.
    """

    def __init__(self, tokens: str, text: Mapping[str, Mapping[str, Any]]):
        self.tokens, self._default = tokens, next(iter(text), None)
        self._written = functools.lru_cache(_REMEMBERED)(self._phonemised)
        self._voices: dict[str, phones.Phonemiser] = {}
        if tokens == IPA:
            for lang, block in text.items():
                self._voices[lang] = phones.Phonemiser(block.get("espeak_voice") or lang)

    @property
    def phonemes(self) -> bool:
        """Whether targets are phones."""
        return self.tokens == IPA

    def of(self, text: str, lang: str | None) -> str:
        """The target of a normalised text.

        Args:
            lang: that it is in; None = the first language.

        Raises:
            UserError: phones in a language that was not named.
        """
        return self._written(text, lang or self._default) if self.phonemes else text

    def of_cut(self, cut: Any) -> Any:
        """A Lhotse cut with its target for a text."""
        if not self.phonemes:
            return cut
        lang = mixing.replayed_language(cut)

        def targeted(supervision: Any) -> Any:
            own = lang or supervision.language
            return supervision.transform_text(lambda text: self.of(text, own))

        return cut.map_supervisions(targeted)

    def units(self, target: str) -> list[str]:
        """What a target consists of, each of which must be a token to be written: characters, or
        phones; without blanks."""
        if self.phonemes:
            return phones.flat(phones.read(target))
        return [character for character in target if not character.isspace()]

    def about(self) -> dict[str, Any]:
        """What phones follow from beside the texts, for records; nothing where there are none."""
        if not self.phonemes:
            return {}
        return {
            "rule": phones.VERSION,
            "espeak_ng": espeak_ng.version(),
            "voices": {lang: one.voice for lang, one in self._voices.items()},
        }

    def _phonemised(self, text: str, lang: str | None) -> str:
        if lang not in self._voices:
            raise UserError(
                f"phones are asked for in {lang}, and there are voices for "
                f"{', '.join(self._voices) or 'no language'}; give the text settings of {lang} too"
            )
        return self._voices[lang].written(text)


PLAIN = Targets(BPE, {})
"""Texts are learnt as they are."""
