"""Greedy search with a cache of keys and values, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from warmstart.models import candidates
from warmstart.models.whisper.network import Network
from warmstart.models.whisper.prompts import Front

_NEVER = -1e30
"""Score of what is suppressed. Finite, so that candidates stay numbers; its probability is 0."""


@dataclass(frozen=True)
class Found:
    """What was heard in one window.

    Attributes:
        language: id of the language's token that stood in front.
        tokens: of the text, without prefix and end.
        probabilities: of each token that was taken, that of the end too where there is one.
        candidates: a row of `candidates.best` a token, where they were asked for.
        first: (V,) scores at the first position, on the CPU.
    """

    language: int
    tokens: list[int]
    probabilities: list[float]
    candidates: list[tuple[Tensor, Tensor]]
    first: Tensor


@torch.inference_mode()
def greedy(
    network: Network,
    states: Tensor,
    languages: Tensor,
    count: int = 0,
    most: int | None = None,
    front: Front | None = None,
    weights: Tensor | None = None,
) -> list[Found]:
    """The likeliest token at each position, until the end or until the positions are used up.

    Tokens that the published model never writes (`suppress_tokens`, and `begin_suppress_tokens` at
    the first position) are left out, as transformers' `generate` leaves them out. Nothing else
    guards against loops or against texts that nobody said: their rates are columns of the tables.

    Args:
        network: in eval mode.
        states: (B, F, D) of windows of one length.
        languages: (B,) ids of the languages' tokens.
        count: so many candidates of each token are kept.
        most: tokens at most; None: as many as there is room for.
        front: in front of all of them.
        weights: (B, L) of language experts.

    Returns:
        One a window, the same alone and in any batch but for the rounding of sums.
    """
    given, end = network.prefix(languages), network.tokens.end
    room = network.said.config["max_target_positions"] - given.shape[1]
    if front is not None and front.decoder is not None:
        room -= front.decoder.shape[1]
    never, cache = _Suppressed(network), None
    rows = [_Row() for _ in states]
    running = list(rows)
    for position in range(room if most is None else min(most, room)):
        with network.weighted(weights):
            made = network.whisper.model.decoder(
                **network.read(given, front if cache is None else None),
                encoder_hidden_states=states,
                past_key_values=cache,
                use_cache=True,
            )
        cache = made.past_key_values
        plain = network.whisper.proj_out(made.last_hidden_state[:, -1]).float()
        scores = never(plain, position)
        taken = scores.argmax(-1)
        sure = scores.softmax(-1).gather(1, taken[:, None])[:, 0]
        kept = _best(scores, taken, end, count)
        going = []
        for place, (row, token) in enumerate(zip(running, taken.tolist(), strict=True)):
            if position == 0:
                row.first = plain[place].cpu()
            row.probabilities.append(float(sure[place]))
            if token != end:
                row.tokens.append(token)
                row.candidates += kept[place]
                going.append(place)
        if not going:
            break
        if len(going) < len(running):
            # Who has ended needs no more room in the batch.
            running = [running[place] for place in going]
            left = torch.tensor(going, device=states.device)
            cache.batch_select_indices(left)
            taken, states = taken[left], states[left]
            weights = None if weights is None else weights[left]
        given = taken[:, None]
    return [
        Found(language, row.tokens, row.probabilities, row.candidates, row.first)
        for language, row in zip(languages.tolist(), rows, strict=True)
    ]


@dataclass
class _Row:
    """A `Found` that grows."""

    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    candidates: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    first: Any = None


class _Suppressed:
    """Scores without what a published model never writes."""

    def __init__(self, network: Network):
        config, device = network.said.config, network.device
        self._always = torch.tensor(config["suppress_tokens"], dtype=torch.long, device=device)
        self._first = torch.tensor(config["begin_suppress_tokens"], dtype=torch.long, device=device)

    def __call__(self, scores: Tensor, position: int) -> Tensor:
        scores = scores.index_fill(1, self._always, _NEVER)
        return scores.index_fill(1, self._first, _NEVER) if position == 0 else scores


def _best(
    scores: Tensor, taken: Tensor, end: int, count: int
) -> Sequence[list[tuple[Tensor, Tensor]]]:
    """Candidates of each row, a list of one or of none."""
    if not count:
        return [[] for _ in taken]
    ids, probabilities = candidates.best(scores, taken, end, count)
    return [[(one, sure)] for one, sure in zip(ids, probabilities, strict=True)]
