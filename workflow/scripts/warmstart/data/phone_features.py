"""How alike phones are: their articulatory features, by panphon (Mortensen et al. 2016,
https://aclanthology.org/C16-1328).

A phone has 24 features (syllabic, voiced, nasal, high, round, ...), each present, absent or not
applicable. The distance of two phones is the share of their features that differ.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panphon import FeatureTable

# Letters of espeak-ng that panphon writes with a mark.
_SPELLINGS = {"ɚ": "ə˞", "ɝ": "ɜ˞"}


def distance(phone: str, other: str) -> float:
    """Share of features that differ, 0 to 1.

    A phone with marks that panphon does not know together is taken without the last of them, until
    it is known. Of what is no phone at all nothing is known, so that it differs in everything from
    whatever is not the same.

    Source: `panphon.distance.Distance.hamming_substitution_cost`.
    """
    if phone == other:
        return 0.0
    features, others = _features(phone), _features(other)
    if features is None or others is None:
        return 1.0
    return sum(a != b for a, b in zip(features, others, strict=True)) / len(features)


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """Least cost of turning the phones of a reference into those of a hypothesis: a substitution
    costs `distance`, an insertion or a deletion 1.

    Divided by the phones of the reference it is the phonetic feature error rate (PFER).

    Source: `panphon.distance.Distance.hamming_feature_edit_distance`; as an error rate in
    arXiv 2308.03917.
    """
    costs = {
        (phone, other): distance(phone, other) for phone in {*reference} for other in {*hypothesis}
    }
    row = [float(place) for place in range(len(hypothesis) + 1)]
    for deleted, phone in enumerate(reference, 1):
        diagonal, row[0] = row[0], float(deleted)
        for place, other in enumerate(hypothesis, 1):
            least = min(diagonal + costs[phone, other], row[place] + 1, row[place - 1] + 1)
            diagonal, row[place] = row[place], least
    return row[-1]


def nearest(phone: str, inventory: Collection[str]) -> str:
    """The phone of an inventory with the least distance; of several the first in alphabetical
    order, so that it is always the same.

    Raises:
        ValueError: the inventory is empty.
    """
    if not inventory:
        raise ValueError("no phone to choose from")
    return min(sorted(inventory), key=lambda other: distance(phone, other))


def mapping(heard: Collection[str], inventory: Collection[str]) -> Mapping[str, str]:
    """Phone of a recogniser -> phone of a language that it never saw: itself where the language has
    it, else the nearest.

    Xu, Baevski and Auli 2021 (arXiv 2109.11680) map phones of training to those of an unseen
    language by articulatory features in this way.
    """
    own = {*inventory}
    return {phone: phone if phone in own else nearest(phone, own) for phone in sorted(heard)}


@functools.cache
def _features(phone: str) -> tuple[int, ...] | None:
    phone = "".join(_SPELLINGS.get(character, character) for character in phone)
    table = _table()
    while phone:
        if table.seg_known(phone):
            return tuple(table.word_to_vector_list(phone, numeric=True)[0])
        phone = phone[:-1]
    return None


@functools.cache
def _table() -> "FeatureTable":
    import panphon

    return panphon.FeatureTable()
