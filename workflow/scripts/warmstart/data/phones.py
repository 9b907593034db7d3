"""Phones: what a text sounds like, in the International Phonetic Alphabet, by espeak-ng.

espeak-ng's own phonemisation is used (`espeak_TextToPhonemes` with IPA, espeak-ng/speak_lib.h),
because it covers a hundred languages with one alphabet. The dialect of the voice is the label. On
speech that espeak-ng made, these labels are better than those of any recording can be, because the
same rules chose the sounds.

The rule that makes phones of what espeak-ng writes (`read`):

- A phone is a base letter with the marks that follow it: `sʲ`, `ɑ̃`, `tʰ`.
- These are dropped, because voices write them by different habits, or because they say how a phone
  is spoken and not which it is: stress (`ˈ ˌ`), length (`ː ˑ`), marks of syllables (`r̩`, `ɐ̯`), the
  hyphen of a French liaison, tones (digits and tone letters), the names of languages in brackets
  where a voice borrows another one's rules (`(en)…(it)`), and any other sign that is no letter.
- An affricate is two phones (`ts`, `tʃ`) and a diphthong is two (`aɪ`), because most voices write
  no tie bar, and a phone has to mean the same in all of them. Tie bars of the others are dropped.
- Letters that look alike are one: `g` is `ɡ`, the Greek `ε` is `ɛ`.
- Text is decomposed (NFD), so that `ã` is `a` and a tilde in every voice, except that `ç` is a
  letter of its own.

A word is what espeak-ng writes between two blanks. It is not always a word of the text: "of the" is
`ɒvðɪ`. PER is computed over the phones of an utterance, so words do not matter to it.
"""

import ctypes
import re
import unicodedata
from collections.abc import Iterable

from warmstart.data import espeak_ng
from warmstart.run.errors import UserError

VERSION = 1
"""Raised whenever `read` or `Phonemiser` can give another result for the same input."""

Words = list[list[str]]
"""Phones of each word."""

# espeak-ng/speak_lib.h: espeakCHARS_UTF8; bit 1 of phonememode is IPA in UTF-8.
_CHARS_UTF8, _IPA = 1, 0x02
_SWITCH = re.compile(r"\([a-z][a-z0-9-]*\)")
_LOOK_ALIKES = str.maketrans({"g": "ɡ", "ε": "ɛ"})
# Stress, length, syllabic and not syllabic, tie bars above and below.
_DROPPED = frozenset("ˈˌːˑ\u0329\u030d\u032f\u0361\u035c")
_CEDILLA = "c\u0327"


def read(written_phones: str) -> Words:
    """Cut phones that were written as one string, by the rule of this module.

    Every string of characters can be cut, so that what a model of characters writes can be compared
    with a reference. A mark without a letter before it is a phone of its own.

    >>> read("tʃˈaːo sʲ")
    [['t', 'ʃ', 'a', 'o'], ['sʲ']]
    """
    bare = _SWITCH.sub("", written_phones)
    bare = unicodedata.normalize("NFD", bare).replace(_CEDILLA, "ç").translate(_LOOK_ALIKES)
    words = []
    for word in bare.split():
        phones: list[str] = []
        for character in word:
            category = unicodedata.category(character)
            if character in _DROPPED or category[0] not in "LM":
                continue
            if phones and category in ("Lm", "Mn"):
                phones[-1] += character
            else:
                phones.append(character)
        if phones:
            words.append(phones)
    return words


def written(words: Iterable[Iterable[str]]) -> str:
    """The phones of a word joined, words separated by one blank: `read` undoes it."""
    return " ".join("".join(phones) for phones in words)


def flat(words: Words) -> list[str]:
    """The phones of all words in a row: what PER compares."""
    return [phone for phones in words for phone in phones]


class Phonemiser:
    """Phones of texts by one voice of espeak-ng.

    Several may be used side by side, in threads too: the voice is set again for each text.
    """

    def __init__(self, voice: str):
        """
        Args:
            voice: name of a voice of espeak-ng: for most languages the ISO 639-1 code; `en` is
                British, `en-us` American, `cmn` Mandarin, `nb` Norwegian.

        Raises:
            UserError: espeak-ng has no such voice.
        """
        self.voice = voice
        with espeak_ng.LOCK:
            self._speak_as_voice()

    def phones(self, text: str) -> Words:
        """Phones of each word of a text; none of a text that has nothing to be said.

        >>> Phonemiser("fr").phones("vingt-deux")
        [['v', 'ɛ̃', 't', 'd', 'ø']]
        """
        # NUL ends a text for C; what shows nothing is not spoken anyway.
        encoded = text.replace("\0", " ").encode()
        rest = ctypes.c_char_p(encoded)
        clauses = []
        with espeak_ng.LOCK:
            library, _ = espeak_ng.library()
            self._speak_as_voice()
            # One clause a call; the pointer moves on and is null after the last one.
            while rest.value:
                said = library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, _IPA)
                clauses.append((said or b"").decode())
        return read(" ".join(clauses))

    def written(self, text: str) -> str:
        """Phones of a text as one string."""
        return written(self.phones(text))

    def _speak_as_voice(self) -> None:
        library, _ = espeak_ng.library()
        if library.espeak_SetVoiceByName(self.voice.encode()) != 0:
            raise UserError(
                f"espeak-ng has no voice {self.voice!r}, so there are no phones of this language; "
                "set `espeak_voice` of the language to one of its voices (en-us, cmn, nb, ...), or "
                "leave out arms with `tokens: ipa`"
            )
