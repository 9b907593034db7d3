"""Files of candidates with a planted truth, as `decode.py` writes them."""

import gzip
import json
from types import SimpleNamespace

import numpy as np

from warmstart.data import cut_lines
from warmstart.decoding import candidates as written
from warmstart.decoding import hypotheses
from warmstart.models.base import Candidates, Vocabulary

KEYS = {
    **{"training_set": "it", "lang": "it", "arm": "en", "hours": "1", "seed": 1},
    **{"precision": "full", "tier": "160ms", "test_set": "fleurs"},
}


def write_manifest(path, names, duration_s=1.0, text="a", blocks=None):
    """A test manifest; each utterance is a block of its own unless `blocks` say otherwise."""
    lines = []
    for place, name in enumerate(names):
        supervision = {"id": name, "recording_id": name, "start": 0.0, "channel": 0}
        supervision |= {
            "duration": duration_s,
            "text": text if isinstance(text, str) else text[place],
        }
        block = name if blocks is None else blocks[place]
        cut = {"id": name, "start": 0.0, "duration": duration_s, "channel": 0, "type": "MonoCut"}
        cut |= {"supervisions": [supervision], "custom": {"block": block}}
        lines.append(cut)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as stream:
        for cut in lines:
            stream.write(cut_lines.line(cut))
    return path


def write(path, utterances, pieces, asked=None, sentencepiece=b"", **keys):
    """A hypothesis file, its header and its candidates.

    Args:
        utterances: id -> (n, K) ids, best first, or those and (n, K) probabilities.
        pieces: text of each token.
    """
    lines = []
    for name, found in utterances.items():
        tokens, probabilities = found if isinstance(found, tuple) else (found, None)
        tokens = np.asarray(tokens, dtype=np.int32)
        if probabilities is None:
            probabilities = np.full(tokens.shape, 1 / max(tokens.shape[1], 1))
        one = Candidates(tokens[:, 0], tokens, np.asarray(probabilities, dtype=np.float32))
        emitted = [{"piece": pieces[token], "time_s": 0.0} for token in tokens[:, 0]]
        line = {"id": name, "block": name, "duration_s": 1.0, "ref": "a", "hyp": "a"}
        lines.append(line | {"tokens": emitted} | written.packed(one))
    count = asked or tokens.shape[1]
    decoder = SimpleNamespace(vocabulary=Vocabulary(tuple(pieces), sentencepiece))
    about = written.write(written.path_of(path), lines, decoder, count)
    header = KEYS | keys | {"candidates": about}
    hypotheses.write_hypotheses(path, map(written.without, lines), json.loads(json.dumps(header)))
    return path
