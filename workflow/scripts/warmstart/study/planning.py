"""What a study will take in GPU hours, core hours and disk, before any of it is spent. Standard
library only.

Speeds are measured where this study has finished something (`run.json`, `train.csv`, headers of
hypotheses, `.qc.json` of manifests) and assumed otherwise: the block `planning:` of the
configuration. Every table says which. Results of another study, or of other models than this one
trains, are no measure.
"""

import csv
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmstart.data.corpora import Corpus, open_corpus
from warmstart.data.corpora.pinned import Count, Size
from warmstart.evidence.keys import FULL
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.study import owner, paths, planned_price, round_files, slices
from warmstart.study.grid import Run, Study, TestSet
from warmstart.study.hours import format_hours
from warmstart.study.rounds import number_of
from warmstart.study.run_length import heard_hours, resolve_steps

Hours = float


def aligned(rows: list[list[str]]) -> str:
    """Rows as text columns: the first left, the others right, except a last column of prose."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        middle = (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *middle, row[-1]]).rstrip())
    return "\n".join(lines)


def amount(value: float) -> str:
    """A number for a table: whole above 100, else two or three digits; a dash for nothing."""
    return (
        "-"
        if not value
        else f"{value:,.0f}"
        if value >= 100
        else f"{value:.3g}"
        if value >= 1
        else f"{value:.2g}"
    )


@dataclass(frozen=True)
class Cost:
    """What something takes: wall hours of its job (or the sum over jobs), and GPU and core hours
    that follow from them."""

    wall_h: Hours = 0.0
    gpu_h: Hours = 0.0
    core_h: Hours = 0.0
    disk_gb: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall_h + other.wall_h,
            self.gpu_h + other.gpu_h,
            self.core_h + other.core_h,
            self.disk_gb + other.disk_gb,
        )


@dataclass(frozen=True)
class Speed:
    """Hours of audio per hour, and where the figure comes from."""

    value: float
    source: str


class Planner:
    """Predictions for one study.

    Args:
        study: the validated study.
        results: its `results` folder, for what has been measured already.
    """

    def __init__(self, study: Study, results: Path = Path("results")):
        self.study, self.results = study, results
        self.assumed = study.config["planning"]
        # What to do where the results are another study's: nothing of theirs is looked at.
        self.foreign = owner.of_another(results / owner.NAME, study.config["study"]["name"])
        self._unlike: dict[Run, str] = {}
        # Families differ in speed by more than anything else.
        self._training_speeds: dict[str, Speed] = {}
        self._decoding_speeds: dict[tuple[str, str, str], Speed] = {}

    # ---- training

    def training_audio_h(self, run: Run) -> Hours:
        """Audio that a run sees, repetitions counted, as if every batch was full: an upper
        bound."""
        settings = slices.recipe_of(self.study, run.arm)
        batch_s = settings["batch_duration_s"] * self.processes
        one = self.study.training_set(run.training_set)
        # Rounds share the steps of a run on all that they hear.
        total = one.rounds.total_hours if one.rounds else None
        hours = sum(map(float, one.parts(format_hours(total) if total else run.hours).values()))
        replayed = one.replay.fraction if one.replay else 0.0
        heard = heard_hours(hours, replayed, settings["speed_perturb"])
        return resolve_steps(settings["steps"], heard, batch_s) * batch_s / 3600

    @property
    def processes(self) -> int:
        """Processes of a training job, a device each."""
        settings = self.study.config["training"]
        return settings["devices"] * settings["num_nodes"]

    @property
    def training_gpus(self) -> int:
        """GPUs that a training job holds, used or not."""
        asked = slices.gpus(self.study, "train")
        return max(asked, self.processes) if asked else 0

    def finished(self, run: Run) -> dict[str, Any] | None:
        """`run.json` of a finished run; None for one of another model, or on other hardware, than
        this study would train."""
        return self._finished[run]

    @functools.cached_property
    def _finished(self) -> dict[Run, dict[str, Any] | None]:
        found: dict[Run, dict[str, Any] | None] = {}
        for run in self.study.runs():
            path = self._own(f"runs/{run.path}/run.json")
            record = _read(path) if path else None
            if record and (other := self._differs(run, record)):
                self._unlike[run] = other
                record = None
            found[run] = record
        return found

    def _own(self, path: str) -> Path | None:
        """A file of this study's results, if it is there."""
        found = self.results / path
        return found if not self.foreign and found.exists() else None

    def _differs(self, run: Run, record: dict[str, Any]) -> str | None:
        """What decides the speed of a run and was another one when it was trained, in words.

        A record that says nothing of it is taken for this study's.
        """
        wanted = slices.recipe_of(self.study, run.arm)
        was = record.get("settings", {})
        for key in ("model", "precision", "batch_duration_s"):
            if key in was and was[key] != wanted.get(key):
                return f"training.{key}"
        source = record.get("init_source") or {}
        init = self.study.donor(self.study.arms[run.arm].init)
        block = self.study.config["inits"][init]
        before = source.get("repo") or source.get("source")
        now = slices.init_origin(block)
        pinned = slices.init_digest(self.study, init)
        # By the last part of the name: the folder of a checkout is no other donor.
        named = before and now and Path(before).name != Path(now).name
        if named or (pinned and slices.digest_of(source) not in (None, pinned)):
            return f"another donor ({before})"
        if self.training_gpus and "hardware" in record and not record["hardware"].get("gpu"):
            return "a CPU, and jobs now ask for a GPU"
        return None

    @property
    def families(self) -> list[str]:
        """Of the study's arms, in order."""
        return list(dict.fromkeys(arm.family for arm in self.study.arms.values()))

    def training_speed(self, family: str) -> Speed:
        """Audio that a device trains models of a family on in an hour."""
        if family not in self._training_speeds:
            self._training_speeds[family] = self._training_speed(family)
        return self._training_speeds[family]

    def _training_speed(self, family: str) -> Speed:
        audio_h = device_h = 0.0
        count = 0
        for run in self.study.runs():
            if self.study.arms[run.arm].family != family:
                continue
            heard, device_s = self._trained_so_far(run)
            if heard and device_s:
                audio_h += heard
                device_h += device_s / 3600
                count += 1
        if device_h:
            return Speed(audio_h / device_h, f"measured on {count} of this study's runs")
        return self._assumed(family, "train_audio_hours_per_hour")

    def _assumed(self, family: str, key: str) -> Speed:
        """A speed of a family, or of all."""
        own = self.assumed["families"].get(family, {})
        if key in own:
            return Speed(own[key], f"assumed: planning.families.{family}.{key}")
        return Speed(self.assumed[key], f"assumed: planning.{key}")

    def _trained_so_far(self, run: Run) -> tuple[Hours, float]:
        """(audio in hours, seconds times devices) of a finished run's training, or of one under way
        by the last row of its log.

        All audio, that of a replayed language too.
        """
        if record := self.finished(run):
            devices = record.get("devices", self.processes) * record.get("num_nodes", 1)
            return record["hours_seen"] + record.get("replay_hours_seen", 0.0), record[
                "train_s"
            ] * devices
        path = self._own(f"runs/{run.path}/train.csv")
        if path and run not in self._unlike:
            with open(path, encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream))
            if rows:
                last = {
                    name: float(rows[-1].get(name) or 0)
                    for name in ("hours_seen", "replay_hours", "elapsed_s")
                }
                return last["hours_seen"] + last["replay_hours"], last["elapsed_s"] * self.processes
        return 0.0, 0.0

    def training(self, run: Run) -> Cost:
        """A training job: measured where it is finished."""
        record = self.finished(run)
        config = self.study.config
        if record:
            wall_h = record["wall_s"] / 3600
        else:
            speed = self.training_speed(self.study.arms[run.arm].family)
            wall_h = self.training_audio_h(
                run
            ) / speed.value / self.processes + self._start_h * self._rounds(run)
        disk_gb = (self.assumed["model_gb"] + self.assumed["checkpoints_gb"]) * self._rounds(run)
        return Cost(
            wall_h,
            wall_h * self.training_gpus,
            wall_h * config["resources"]["train_threads"],
            disk_gb,
        )

    def _rounds(self, run: Run) -> int:
        """Trainings that a run consists of."""
        found = self.study.training_set(run.training_set).rounds
        return len(found.each) if found else 1

    def training_round(self, run: Run, number: int) -> Cost:
        """A training job of one round: its share of the run's."""
        begin, end = round_files.of(self.study, run.training_set).shares()[number - 1]
        whole = self.training(run)
        share = end - begin
        return Cost(
            share * whole.wall_h,
            share * whole.gpu_h,
            share * whole.core_h,
            whole.disk_gb / self._rounds(run),
        )

    # ---- decoding

    def test_audio_h(self, test: TestSet) -> Hours:
        """Audio of a test set: of its manifest if that is there, as published, or assumed."""
        source = self.study.config["test_sets"][test.name]
        return self.split_audio_h(source["corpus"], test.lang, source["split"])

    def split_audio_h(self, corpus: str, lang: str, split: str) -> Hours:
        """Audio of one split of a corpus in a language."""
        known = self.known_audio_h(corpus, lang, split)
        if known is not None:
            return known
        reader = slices.reader(self.study, corpus, lang)
        return 0.0 if split == reader.settings["train_split"] else self.assumed["test_hours"]

    def known_audio_h(self, corpus: str, lang: str, split: str) -> Hours | None:
        """The same, where a manifest or a publisher says it."""
        if kept := self._kept(corpus, lang, split):
            return kept["hours"]
        return slices.reader(self.study, corpus, lang).hours(split) or None

    def known_count(self, corpus: str, lang: str, split: str) -> Count | None:
        """Utterances and blocks of a split, where a manifest or a publisher says it."""
        kept = self._kept(corpus, lang, split)
        if kept and "cuts" in kept:
            return Count(kept["cuts"], kept.get("blocks"))
        return slices.reader(self.study, corpus, lang).count(split)

    def _kept(self, corpus: str, lang: str, split: str) -> dict[str, Any] | None:
        """What a manifest holds, if it is there."""
        report = self._own(f"manifests/{corpus}/{lang}/{split}.qc.json")
        known = _read(report) if report else None
        return known["kept"] if known else None

    def decoding(self, run: Run, precision: str, tier: Tier) -> Cost:
        """A decoding job: all test sets of the run at one precision (or by the model of an earlier
        round) and tier."""
        audio_h = sum(map(self.test_audio_h, self.study.test_sets(run.training_set)))
        family = self.study.arms[run.arm].family
        of = FULL if number_of(precision) else precision
        return self._decoded(audio_h, self.decoding_speed(of, tier.name, family))

    def _decoded(self, audio_h: Hours, speed: Speed) -> Cost:
        wall_h = audio_h / speed.value + self._start_h
        return Cost(
            wall_h,
            wall_h * slices.gpus(self.study, "decode"),
            wall_h * self.study.config["decoding"]["threads"],
        )

    def labelling(self, run: Run, number: int) -> Cost:
        """Asking the model of the round before what a round is trained on."""
        tier = round_files.label_tier(self.study, self.study.arms[run.arm], run.training_set)
        speed = self.decoding_speed(FULL, tier, self.study.arms[run.arm].family)
        return self._decoded(round_files.asked_hours(self.study, run, number), speed)

    def decoding_of(self, run: Run) -> Cost:
        """All decoding jobs of a run, those of its rounds too."""
        jobs = [self.decoding(run, *each) for each in self.study.precisions(run)]
        if self.study.training_set(run.training_set).rounds:
            tier = self.study.tiers[paths.crossed_tier(self.study, run.arm)]
            jobs += [
                self.decoding(run, name, tier)
                for name in round_files.earlier(self.study, run.training_set)
            ]
            asked = [number for of, number in round_files.choices(self.study) if of == run]
            jobs += [self.labelling(run, number) for number in asked]
        return sum(jobs, Cost())

    def decoding_speed(self, precision: str, tier: str, family: str) -> Speed:
        """RTFx of a family at a precision and tier, over the hypotheses that this study has of
        them."""
        key = precision, tier, family
        if key not in self._decoding_speeds:
            self._decoding_speeds[key] = self._decoding_speed(*key)
        return self._decoding_speeds[key]

    def _decoding_speed(self, precision: str, tier: str, family: str) -> Speed:
        audio_s = compute_s = 0.0
        on_gpu = slices.decode_gpus(self.study, precision) > 0
        for run in self._decoded_runs:
            if self.foreign or run in self._unlike:
                continue
            if self.study.arms[run.arm].family != family:
                continue
            for path in (self.results / "hypotheses" / run.path / precision / tier).glob("*.json"):
                if not (header := _read(path)):
                    continue
                if on_gpu and str(header.get("device", "cuda")).startswith("cpu"):
                    continue
                audio_s, compute_s = audio_s + header["audio_s"], compute_s + header["compute_s"]
        if compute_s:
            return Speed(audio_s / compute_s, "measured")
        return self._assumed(family, "decode_rtfx")

    @functools.cached_property
    def _decoded_runs(self) -> list[Run]:
        return [run for name in self.study.decoded_sets for run in self.study.decoded_runs(name)]

    # ---- the rest

    @property
    def _start_h(self) -> Hours:
        return self.assumed["job_start_min"] / 60

    def download(self, corpus: str, lang: str) -> Cost:
        """Fetching one corpus in one language; what languages share is `shared_download`."""
        reader = slices.reader(self.study, corpus, lang)
        return self._fetched(reader, reader.gigabytes())

    def shared_download(self, corpus: str) -> Cost:
        """Fetching what all languages of a corpus share, once."""
        reader = open_corpus(corpus, "", self.study.config["corpora"][corpus])
        return self._fetched(reader, reader.shared_gigabytes())

    def _fetched(self, reader: Corpus, size: Size | None) -> Cost:
        size_gb = 0.0 if size is None or reader.is_here() else size.gigabytes
        wall_h = size_gb * 1000 / self.assumed["download_mb_per_s"] / 3600
        return Cost(wall_h, 0.0, wall_h, size_gb)

    def manifest(self, corpus: str, lang: str, split: str) -> Cost:
        """Decoding every file of a split once, to see that it is sound."""
        core_h = (
            self.split_audio_h(corpus, lang, split) * self.assumed["check_s_per_audio_hour"] / 3600
        )
        return Cost(core_h, 0.0, core_h)

    def quantizing(self) -> Cost:
        """Making one quantised encoder."""
        wall_h = self.assumed["quantize_min"] / 60
        return Cost(wall_h, 0.0, wall_h, self.assumed["quantized_gb"])

    def bundle(self) -> Cost:
        """Making one bundle."""
        wall_h = self.assumed["quantize_min"] / 60
        return Cost(wall_h, 0.0, wall_h, self.assumed["quantized_gb"])

    def small_job(self) -> Cost:
        """Any other job: pools, budgets, tokenizers, scores, tables, figures, report."""
        wall_h = self.assumed["small_job_min"] / 60
        return Cost(wall_h, 0.0, wall_h)

    def assumptions(self) -> Iterator[str]:
        """What the figures rest on, a line each."""
        config = self.study.config
        if self.foreign:
            yield (
                f"nothing in {self.results}/: it belongs to the study "
                f"{owner.name_of(self.results / owner.NAME)!r}"
            )
        for other in dict.fromkeys(self._unlike.values()):
            runs = [run.path for run, why in self._unlike.items() if why == other]
            yield f"not on {len(runs)} finished run(s), {runs[0]} first: trained with {other}"
        for family in self.families:
            speed = self.training_speed(family)
            yield (
                f"{self._named(family)}training: {speed.value:.4g} h of audio an hour and device "
                f"({speed.source})"
            )
        gpus = f"{self.training_gpus} GPU(s)" if self.training_gpus else "no GPU"
        processes = f" in {self.processes} processes" if self.processes > 1 else ""
        yield (
            f"a training job has {gpus} and {config['resources']['train_threads']} "
            f"core(s){processes}"
        )
        for family in self.families:
            yield from self._decoding_assumptions(family)
        yield f"a job takes {self.assumed['job_start_min']:g} min to start (planning.job_start_min)"
        unknown = self._tests_of_unknown_size()
        if unknown:
            yield (
                f"{', '.join(unknown)}: {self.assumed['test_hours']:g} h each (planning.test_hours)"
            )

    def _named(self, family: str) -> str:
        """What stands in front of a line of one family of several."""
        return f"{family}, " if len(self.families) > 1 else ""

    def _decoding_assumptions(self, family: str) -> Iterator[str]:
        asked = {
            (precision, tier)
            for run in self._decoded_runs
            if self.study.arms[run.arm].family == family
            for precision, tier in self.study.precisions(run)
        }
        names = list(self.study.config["precisions"])
        speeds = {
            (precision, tier.name): self.decoding_speed(precision, tier.name, family)
            for precision, tier in sorted(
                asked, key=lambda one: (names.index(one[0]), by_latency(one[1]))
            )
        }
        for source in dict.fromkeys(speed.source for speed in speeds.values()):
            own = {key: speed.value for key, speed in speeds.items() if speed.source == source}
            values = sorted({f"{value:.4g}" for value in own.values()}, key=float)
            span = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
            yield (
                f"{self._named(family)}decoding: {span} times real time ({source}; "
                f"{', '.join('/'.join(key) for key in own)})"
            )

    def stage_assumptions(self) -> Iterator[str]:
        """What the other stages' figures rest on."""
        assumed = self.assumed
        yield (
            f"downloads at {assumed['download_mb_per_s']:g} MB/s; sizes as `make hours` shows them"
        )
        yield (
            f"manifests: {assumed['check_s_per_audio_hour']:g} core seconds an hour of audio, "
            "every file is decoded"
        )
        yield (
            f"a quantised encoder: {assumed['quantize_min']:g} min and {assumed['quantized_gb']:g} "
            "GB; a bundle likewise"
        )
        yield (
            f"a model: {assumed['model_gb']:g} GB, its checkpoints {assumed['checkpoints_gb']:g} GB"
        )
        yield f"any other job: {assumed['small_job_min']:g} min of one core"

    def _tests_of_unknown_size(self) -> list[str]:
        found = []
        for name in self.study.decoded_sets:
            for test in self.study.test_sets(name):
                source = self.study.config["test_sets"][test.name]
                known = self.known_audio_h(source["corpus"], test.lang, source["split"])
                slug = test.slug(self.study.training_set(name))
                if known is None and slug not in found:
                    found.append(slug)
        return found


def by_latency(tier: Tier) -> tuple[bool, int, str]:
    """Sort key of tiers: those that stream by what they wait for, then those that hear all."""
    return tier.offline, tier.right, tier.name


def per_run(planner: Planner) -> str:
    """The table of `snakemake cost`: the sums, then what each run takes or took, by training
    set."""
    heads = ["", "audio h", "training h", "decoding h", "GPU h", "core h", "state"]
    groups: dict[str, list[list[str]]] = {}
    sums: dict[str, Cost] = {}
    total = to_do = Cost()
    waiting = 0
    for run in planner.study.runs():
        state = "finished" if planner.finished(run) else "to do"
        training, decoding = planner.training(run), planner.decoding_of(run)
        both = training + decoding
        total += both
        if state == "to do":
            to_do, waiting = to_do + both, waiting + 1
        sums[run.training_set] = sums.get(run.training_set, Cost()) + both
        row = _row(f"  {run.path}", planner.training_audio_h(run), training, decoding, state)
        groups.setdefault(run.training_set, []).append(row)
    count = sum(map(len, groups.values()))
    rows = [heads, _sum(f"all runs ({count})", total), _sum(f"still to train ({waiting})", to_do)]
    for name, own in groups.items():
        label = planner.study.training_set(name).label
        rows += [_sum(f"{label} ({name}, {len(own)})", sums[name]), *own]
    return (
        "Hours of each run: training, then decoding all test sets at every precision and tier\n"
        + aligned(rows)
        + planned_price.text(planner.assumed, total.gpu_h, total.core_h)
        + "\n\nThis rests on\n"
        + _lines(planner.assumptions())
        + "\nQuantising, data preparation and disk: `make plan`.\n"
    )


def _sum(name: str, cost: Cost) -> list[str]:
    return [name, "", "", "", amount(cost.gpu_h), amount(cost.core_h), ""]


# ---- stages, from the outputs that Snakemake would make

_LEVELS = r"(?P<run>[^/]+/[^/]+/[^/]+/[^/]+)"  # those of `Run.path`
_PLACES = {
    "download_corpus": re.compile(r"resources/corpora/(?P<corpus>[^/]+)/(?P<lang>[^/]+)/"),
    "prepare_manifest": re.compile(
        r"results/manifests/(?P<corpus>[^/]+)/(?P<lang>[^/]+)/(?P<split>[^/.]+)\."
    ),
    "train": re.compile(rf"results/runs/{_LEVELS}/"),
    "train_round": re.compile(rf"results/runs/{_LEVELS}/round(?P<round>[1-9])/"),
    "label_pool": re.compile(rf"results/runs/{_LEVELS}/labels(?P<round>[1-9])/"),
    "join_rounds": re.compile(rf"results/runs/{_LEVELS}/"),
    "quantize": re.compile(rf"results/runs/{_LEVELS}/(?P<precision>[^/]+)/(?P<tier>[^/]+)/"),
    "decode": re.compile(rf"results/hypotheses/{_LEVELS}/(?P<precision>[^/]+)/(?P<tier>[^/]+)/"),
    "build_bundle": re.compile(r"results/bundles/(?P<path>.*)/"),
    "train_tokenizer": re.compile(r"results/tokenizers/[^/]+/"),
    "aggregate": re.compile(r"results/tables/"),
    "plot": re.compile(r"results/figures/"),
}
"""Rule -> what the outputs of one job have in common.

Of other rules, one job's outputs differ in their ending only.
"""
_ORDER = {
    stage: place
    for place, stage in enumerate(
        [
            *(
                "download_corpus",
                "prepare_manifest",
                "list_traits",
                "prepare_noise",
                "prepare_noise_training",
                "build_pool",
                "pack_pool",
                "subset_budget",
            ),
            *("corrupt_labels", "mix_training_set", "train_tokenizer", "list_unwritable"),
            *(
                "download_init",
                "pretrain_init",
                "profile_batches",
                "train",
                "train_round",
                "label_pool",
                "join_rounds",
                "quantize",
                "decode",
                "write_list",
                "score",
                "score_rounds",
                "count_candidates",
                "probe_init",
                "understand",
            ),
            *("aggregate", "plot", "build_report", "build_bundle", "describe_bundle", "all"),
        ]
    )
}
# Stages that are a rule for each training set, or kind of file or bundle: `decode_de` is `decode`.
_SEVERAL = (
    *("decode", "train_tokenizer", "train_round", "join_rounds", "train", "download_init"),
    *("pretrain_init", "build_bundle"),
)
_ENDING = re.compile(r"(\.qc)?\.json$|\.jsonl\.gz$|\.[a-z]+$")


def jobs_of(outputs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """The jobs that make some outputs.

    Args:
        outputs: (output file, rule) of Snakemake's summary.

    Returns:
        (stage, what tells the job apart) -> its wildcards; `decode_de` and its like are the stage
        `decode`.
    """
    jobs = {}
    for output, rule in outputs:
        several = (one for one in _SEVERAL if rule.startswith(f"{one}_"))
        stage = rule if rule in _ORDER else next(several, rule)
        if stage in _PLACES:
            found = _PLACES[stage].match(output)
            if found is None:
                raise ValueError(
                    f"{output} is not where rule {rule} writes: planning._PLACES is older than the "
                    "rules"
                )
            jobs[stage, found[0]] = found.groupdict()
        else:
            jobs[stage, _ENDING.sub("", output)] = {}
    return jobs


def cost_of(planner: Planner, stage: str, keys: dict[str, str]) -> Cost:
    """What one job takes."""
    if stage == "download_corpus":
        return planner.download(keys["corpus"], keys["lang"])
    if stage == "prepare_manifest":
        return planner.manifest(keys["corpus"], keys["lang"], keys["split"])
    if stage == "quantize":
        return planner.quantizing()
    if stage == "build_bundle":
        return planner.bundle()
    if stage not in ("train", "train_round", "label_pool", "decode"):
        return planner.small_job()
    run = Run.of_path(keys["run"])
    if stage == "train":
        return planner.training(run)
    if stage == "train_round":
        return planner.training_round(run, int(keys["round"]))
    if stage == "label_pool":
        return planner.labelling(run, int(keys["round"]))
    return planner.decoding(run, keys["precision"], planner.study.tiers[keys["tier"]])


def per_stage(planner: Planner, outputs: Iterable[tuple[str, str]], cores: int = 1) -> str:
    """The table of `make plan`: jobs, hours and disk of every stage that Snakemake would run now.

    Args:
        planner: of the study.
        outputs: see `jobs_of`.
        cores: that one machine would have.
    """
    jobs = jobs_of(outputs)
    sums: dict[str, tuple[int, Cost]] = {}
    every: list[Cost] = []
    for (stage, _), keys in jobs.items():
        count, cost = sums.get(stage, (0, Cost()))
        every.append(cost_of(planner, stage, keys))
        sums[stage] = count + 1, cost + every[-1]
    if not sums:
        return "Nothing to be done: every output of this study is there and current.\n"
    for corpus in sorted(
        {keys["corpus"] for (stage, _), keys in jobs.items() if stage == "download_corpus"}
    ):
        count, cost = sums["download_corpus"]
        sums["download_corpus"] = count, cost + planner.shared_download(corpus)
    rows = [["stage", "jobs", "GPU h", "core h", "disk GB", ""]]
    total = sum((cost for _, cost in sums.values()), Cost())
    everything = {**sums, "all": (len(jobs), total)}
    # A rule that is newer than _ORDER comes before the sum all the same.
    for stage, (count, cost) in sorted(
        everything.items(), key=lambda item: _ORDER.get(item[0], _ORDER["all"] - 0.5)
    ):
        rows.append([stage, str(count), *map(amount, (cost.gpu_h, cost.core_h, cost.disk_gb)), ""])
    return (
        "What a run would do now, from Snakemake's own account of what is missing or stale\n"
        + aligned(rows)
        + f"\n\n{wall_time(every, cores)}"
        + planned_price.text(planner.assumed, total.gpu_h, total.core_h)
        + "\n\nThis rests on\n"
        + _lines([*planner.assumptions(), *planner.stage_assumptions()])
    )


def wall_time(jobs: list[Cost], cores: int) -> str:
    """How long jobs take at least on one machine, where every core and GPU is busy all the time.

    Args:
        jobs: all of them.
        cores: of the machine; a job that asks for more has all of them.
    """
    busy_h = sum(min(job.core_h, job.wall_h * cores) for job in jobs) / cores
    with_cores = max(busy_h, *(job.wall_h for job in jobs))
    gpu_h = sum(job.gpu_h for job in jobs)
    words = f"On one machine with --cores {cores} at least {amount(with_cores)} h of wall time"
    if not gpu_h:
        return f"{words}; more, where jobs wait for each other."
    one, eight = (max(gpu_h / gpus, with_cores) for gpus in (1, 8))
    return (
        f"{words}; with one GPU {amount(one)} h, with eight {amount(eight)} h.\nMore, where jobs "
        "wait for each other or in a queue."
    )


def _row(name: str, audio_h: Hours, training: Cost, decoding: Cost, state: str) -> list[str]:
    both = training + decoding
    return [
        name,
        *map(amount, (audio_h, training.wall_h, decoding.wall_h, both.gpu_h, both.core_h)),
        state,
    ]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"  {line}\n" for line in lines)


def _read(path: Path) -> dict[str, Any] | None:
    """A record that is there and whole; planners look and change nothing."""
    return files.read_if_whole(path, dict, "delete it and run the workflow again", aside=False)
