"""Speed of every decode, what its batches change, and the delay of its tokens."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from warmstart.evidence.analyses import base
from warmstart.evidence.cells import text_cell
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    PRECISION,
    SEED,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import KEYS
from warmstart.evidence.means import NAN
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, field, sheet

_CHUNK = (
    "compute time of a chunk of one live stream, features, encoder and search, on a sample of "
    "`checked_test_set`"
)
_SAMPLE = (
    "the sample's utterances, and those whose tokens or times differ between the hypothesis file "
    "and a live stream"
)
_HOW = "how and on what it was decoded; empty where a decode was resumed on something else"
ENDPOINT_MS = 1200.0
"""Silence after which a recogniser calls an utterance ended: rule 2 of sherpa-onnx by default
(`rule2_min_trailing_silence`, its documentation of endpointing)."""
_FINAL = "end of speech to final text of one live stream, chunks as fast as the median one: "
_SPEED = "audio per compute time, and both"


class Analysis(base.Analysis):
    """A row for each hypothesis file, from the header beside it."""

    section = base.LATENCY
    title = "Speed and delay of decoding"
    caption = (
        "Speed of every decode, lookahead, and the delay of its tokens against the offline decode."
    )
    details = "One row per hypothesis file."
    columns = (
        *(TRAINING_SET, LANG, ARM, HOURS, SEED, PRECISION, TIER, TEST_SET),
        Column(
            "lookahead_ms",
            "ms",
            "audio after a chunk's first frame that is waited for; empty for offline tiers",
            "Lookahead ms",
        ),
        Column("rtfx", "", _SPEED, "RTFx (median)"),
        Column("audio_s", "s", _SPEED),
        Column("compute_s", "s", _SPEED),
        Column("batch_size", "", _HOW),
        Column(
            "engine",
            "",
            "what computed the encoder: `pytorch` or `onnxruntime`; quantised weights on a GPU or "
            "offline: dequantised in `pytorch`",
        ),
        Column("device", "", _HOW),
        Column("device_name", "", _HOW),
        Column("threads", "", _HOW),
        Column("chunk_ms_median", "ms", _CHUNK, "Chunk ms"),
        Column("chunk_ms_p95", "ms", _CHUNK, "Chunk ms p95"),
        Column(
            "final_closed_ms",
            "ms",
            _FINAL + "the caller says that the speech is over, and the rest is decoded at once",
            "Final text ms, stream closed",
        ),
        Column(
            "final_open_ms",
            "ms",
            _FINAL + "nobody says it, and the chunk has to fill, by half on average",
            "Final text ms, stream open",
        ),
        Column(
            "final_endpoint_ms",
            "ms",
            _FINAL + f"an endpoint is found after {ENDPOINT_MS / 1000:g} s of silence and the "
            "filling of a chunk",
            "Final text ms, endpoint",
        ),
        Column(
            "checked_test_set",
            "",
            "where the sample is from: the first test set of the job, which checks once and writes "
            "what it saw beside all of them",
        ),
        Column("checked_utterances", "", _SAMPLE),
        Column("checked_differing_utterances", "", _SAMPLE, "Tokens that depend on the batch"),
        Column(
            "checked_max_logit_difference",
            "",
            "largest difference of a logit between a batch and a live stream",
        ),
        Column(
            "emission_delay_ms",
            "ms",
            "median over blocks of the blocks' median token delay against the offline decode",
            "Emission delay ms",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """What each header says, and the delays that scoring found."""
        delays = evidence.counts.groupby(list(KEYS)).emission_delay_ms.median()
        measured = (
            *("lookahead_ms", "rtfx", "audio_s", "compute_s", "batch_size"),
            *("engine", "device", "device_name", "threads"),
        )
        checked = ("test_set", "utterances", "differing_utterances", "max_logit_difference")
        for header in _ordered(evidence.headers, settings):
            keys = {name: header[name] for name in KEYS}
            keys |= {"hours": float(header["hours"]), "seed": int(header["seed"])}
            check = header["batch_check"]
            yield {
                **keys,
                **{name: header.get(name) for name in measured},
                **{name: check[name] for name in ("chunk_ms_median", "chunk_ms_p95")},
                **_final(header.get("lookahead_ms"), check["chunk_ms_median"]),
                **{f"checked_{name}": check[name] for name in checked},
                "emission_delay_ms": delays.get(tuple(keys.values()), NAN),
            }

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Medians over what was decoded in one way; nothing where nothing was measured."""
        table = tables["latency"]
        if table.empty:
            return None
        ways = ["precision", "tier", "engine", "device", "device_name", "batch_size", "threads"]
        ways = [name for name in ways if table[name].notna().any()]
        numbers = {
            "lookahead_ms": 0,
            "rtfx": 1,
            "chunk_ms_median": 1,
            "chunk_ms_p95": 1,
            "final_closed_ms": 0,
            "final_open_ms": 0,
            "final_endpoint_ms": 0,
            "emission_delay_ms": 0,
        }
        medians = (
            table.groupby(ways, sort=False, dropna=False)[list(numbers)]
            .agg(lambda values: pd.to_numeric(values).median())
            .reset_index()
        )
        order = medians.tier.map(display.tier_place)
        medians = medians.assign(order=order).sort_values(
            ["precision", "order"],
            kind="stable",
            key=lambda column: (
                column.map({name: place for place, name in enumerate(column.unique())})
                if column.name == "precision"
                else column
            ),
            ignore_index=True,
        )
        # A job checks one test set and writes what it saw beside all of them.
        once = table.test_set == table.checked_test_set
        counts = table[["checked_differing_utterances", "checked_utterances"]].where(once, 0)
        counted = table[ways].join(counts).groupby(ways, sort=False, dropna=False).sum()
        medians["differing"] = [
            f"{row.checked_differing_utterances:.0f} of {row.checked_utterances:.0f}"
            for row in counted.itertuples()
        ]
        of = self.fields(display)
        differing = next(
            column for column in self.columns if column.name == "checked_differing_utterances"
        )
        fields = [
            *(of.tier() if name == TIER.name else of.text(name) for name in ways),
            *(of.number(name, digits) for name, digits in numbers.items()),
            field(differing.label, lambda row: text_cell(row.differing), differing.meaning),
        ]
        return sheet(self.name, fields, medians.itertuples(), sortable=True)


def _final(lookahead_ms: float | None, chunk_ms: float | None) -> dict[str, float]:
    """What a speaker waits for the final text; nothing at offline tiers, which have no chunks.

    A chunk is as long as the lookahead of its first frame. Speech ends at any time of it.
    """
    if lookahead_ms is None or chunk_ms is None:
        return {}
    opened = lookahead_ms / 2 + chunk_ms
    return {
        "final_closed_ms": chunk_ms,
        "final_open_ms": opened,
        "final_endpoint_ms": ENDPOINT_MS + opened,
    }


def _ordered(headers: Iterable[Mapping[str, Any]], settings: Settings) -> list[Mapping[str, Any]]:
    """Headers as they came, but for the tiers of a run, which stand by latency."""
    runs: dict[tuple[Any, ...], int] = {}

    def place(header: Mapping[str, Any]) -> tuple[Any, ...]:
        run = tuple(header[name] for name in KEYS if name not in ("tier", "test_set"))
        return runs.setdefault(run, len(runs)), settings.tier_place(header["tier"])

    return sorted(headers, key=place)
