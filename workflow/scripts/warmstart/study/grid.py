"""The grid of a study: which runs, hypotheses and files follow from a configuration.

Every path that more than one rule needs is made here, once.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmstart.data.corpora import PUBLISHERS_SPEAKERS
from warmstart.run.errors import UserError
from warmstart.study import consistency, recipe
from warmstart.study.config import SCHEMA, load_config, read_config, validate
from warmstart.study.published import available_hours, format_hours, licence, replayed_hours
from warmstart.study.tier import FRAME_S, Tier

RUN = "{lang}/{init}/{hours}h/seed{seed}"


FULL = "full"  # the precision that decodes with the PyTorch weights as trained


ZERO_SHOT = "0"  # hours of an init that is decoded as published, with its own decoder


@dataclass(frozen=True)
class Run:
    """One fine-tuned model. `hours` is the budget as it stands in paths, e.g. "100" or "0.02"."""

    lang: str
    init: str
    hours: str
    seed: int

    @property
    def path(self) -> str:
        """The four folder levels that all artefacts of a run share."""
        return f"{self.lang}/{self.init}/{self.hours}h/seed{self.seed}"


def open_study(source: str) -> "Study":
    """The study of a configuration file (or of JSON): read, validated, checked.

    Raises:
        UserError: see `read_config`, `validate` and `Study`.
    """
    config = read_config(source)
    validate(config, SCHEMA)
    return Study(config)


class Study:
    """A validated configuration, as the grid it describes.

    Args:
        config: the configuration, already through `validate`.
        base: folder that holds the Snakefile; relative paths in the configuration start there.

    Raises:
        UserError: on construction, for every cross-field fault that can be seen without data.
    """

    def __init__(self, config: dict[str, Any], base: str | Path = "."):
        self.config = config
        self.base = Path(base)
        self.tiers = {
            name: Tier(name, tier["context"][0], tier["context"][1], tier["offline"])
            for name, tier in config["tiers"].items()
        }
        self._check()

    # ---- axes

    @property
    def languages(self) -> list[str]:
        """Target languages, in the order of the configuration."""
        return list(self.config["languages"])

    @property
    def pooled_languages(self) -> list[str]:
        """Languages with a pool: the targets, and the one that is replayed."""
        replay = self.config["training"].get("replay")
        return [*self.languages, *([replay["lang"]] if replay else [])]

    @property
    def inits(self) -> list[str]:
        """Warm starts of the study, in order."""
        return list(self.config["inits"])

    def language(self, lang: str) -> dict[str, Any]:
        """Block of a target or support language.

        Raises:
            UserError: no such block.
        """
        for section in ("languages", "support_languages"):
            if lang in self.config[section]:
                return self.config[section][lang]
        known = [*self.config["languages"], *self.config["support_languages"]]
        raise UserError(
            f"language {lang!r} has no block in the config; add one under languages: (README, Add "
            "a language); "
            f"blocks: {', '.join(known)}"
        )

    def text(self, lang: str) -> dict[str, Any]:
        """What normalises a language's text. Not its examples: one more of them changes nothing
        that was made."""
        text = {
            key: value for key, value in self.language(lang)["text"].items() if key != "examples"
        }
        # "1,500 people" is not one point five.
        return {"decimal": "." if (text["numbers"] or "").startswith("en") else ",", **text}

    def budgets(self, lang: str) -> list[str]:
        """Hour budgets of a language as they stand in paths, ascending."""
        return [format_hours(hours) for hours in sorted(self.language(lang)["budgets_hours"])]

    def runs(self, lang: str | None = None) -> list[Run]:
        """All runs, or those of one language."""
        return [
            Run(code, init, hours, seed)
            for code in ([lang] if lang else self.languages)
            for init in self.inits
            for hours in self.budgets(code)
            for seed in self.config["seeds"]
        ]

    def zero_shot_runs(self, lang: str) -> list[Run]:
        """Inits that a language is decoded with as they are: nothing is trained, so there is one
        seed."""
        return [
            Run(lang, name, ZERO_SHOT, self.config["seeds"][0])
            for name, init in self.config["inits"].items()
            if init["zero_shot"] is not None
            and lang in (init["zero_shot"]["prompts"] or self.languages)
        ]

    def precisions(self, run: Run) -> Iterator[tuple[str, Tier]]:
        """(precision, tier) pairs at which a run is decoded."""
        if run.hours == ZERO_SHOT:
            yield from ((FULL, tier) for tier in self.tiers.values())
            return
        for name, precision in self.config["precisions"].items():
            wanted = precision["budgets"]
            if wanted == "largest" and run.hours != self.budgets(run.lang)[-1]:
                continue
            for tier in precision["tiers"] if precision["tiers"] != "all" else self.tiers:
                yield name, self.tiers[tier]

    def test_sets(self, lang: str) -> list[str]:
        """Names of the test sets that a language is scored on, those of a replayed language
        last."""
        return [*self.language(lang)["test_sets"], *self.replayed_test_sets()]

    def replayed_test_sets(self) -> dict[str, str]:
        """Names that the test sets of the replayed language have in this study, and their own
        names: they show forgetting."""
        replay = self.config["training"].get("replay")
        return (
            {
                f"{replay['lang']}_{name}": name
                for name in self.language(replay["lang"])["test_sets"]
            }
            if replay
            else {}
        )

    # ---- paths

    @staticmethod
    def manifest(corpus: str, lang: str, split: str) -> str:
        """Lhotse CutSet of one split."""
        return f"results/manifests/{corpus}/{lang}/{split}.jsonl.gz"

    def test_manifest(self, lang: str, test_set: str) -> str:
        """CutSet of a test set in a language; that of a replayed test set is in its own."""
        if (replayed := self.replayed_test_sets()) and test_set in replayed:
            lang, test_set = self.config["training"]["replay"]["lang"], replayed[test_set]
        source = self.config["test_sets"][test_set]
        noise = f"+noise{source['noise_snr_db']}db" if "noise_snr_db" in source else ""
        return self.manifest(source["corpus"], lang, source["split"] + noise)

    def guard_manifests(self, lang: str) -> dict[str, str]:
        """Test sets whose sentences and speakers must stay out of the pool, with their CutSets.

        All that the study defines and the language has data for, not only those it is scored on:
        scoring one more of them later must not change the pool, or every model would be stale. A
        second name for the same recordings guards nothing new.
        """
        corpora = self.language(lang)["corpora"]
        names: dict[str, str] = {}
        for name, source in self.config["test_sets"].items():
            # Noise changes neither sentence nor speaker: the clean set guards for the noisy one.
            if source["corpus"] in corpora and "noise_snr_db" not in source:
                names.setdefault(self.test_manifest(lang, name), name)
        return {name: path for path, name in names.items()}

    def training_manifests(self, lang: str) -> dict[str, str]:
        """corpus -> CutSet of the training split, for the corpora of a language's pool."""
        return {
            corpus: self.manifest(corpus, lang, self.corpus_block(corpus, lang)["train_split"])
            for corpus in self.language(lang)["training_corpora"]
        }

    def training_cuts(self, lang: str, hours: str) -> str:
        """CutSet that a run is trained on: its budget, or that with replayed cuts between."""
        replay = self.config["training"].get("replay")
        return (
            f"results/replay/{lang}/{hours}h.jsonl.gz"
            if replay
            else f"results/budgets/{lang}/{hours}h.jsonl.gz"
        )

    def replay_pool(self) -> str | None:
        """Pool of the replayed language."""
        replay = self.config["training"].get("replay")
        return f"results/pools/{replay['lang']}.jsonl.gz" if replay else None

    def training_noise(self) -> str | None:
        """Manifest of the recordings that are mixed into training."""
        return (
            "results/noise/training.jsonl.gz"
            if (self.config["noise"] or {}).get("training")
            else None
        )

    def validation_manifest(self, lang: str) -> str:
        """CutSet on which training is watched; never a test split."""
        source = self.config["validation"]
        return self.manifest(source["corpus"], lang, source["split"])

    def manifests(self, lang: str) -> list[str]:
        """All CutSets that a language's jobs read."""
        watched = [self.validation_manifest(lang)] if lang in self.languages else []
        return list(
            dict.fromkeys(
                [
                    *self.training_manifests(lang).values(),
                    *self.guard_manifests(lang).values(),
                    *watched,
                ]
            )
        )

    def hypotheses(self, lang: str) -> list[str]:
        """All hypothesis files of a language."""
        return [
            f"results/hypotheses/{run.path}/{precision}/{tier.name}/{test_set}.jsonl"
            for run in [*self.zero_shot_runs(lang), *self.runs(lang)]
            for precision, tier in self.precisions(run)
            for test_set in self.test_sets(lang)
        ]

    def decoded_model(self, lang: str, init: str, hours: str, seed: str) -> str:
        """The model file behind hypotheses: a run's, or the init's own."""
        if hours == ZERO_SHOT:
            return f"resources/inits/{init}.nemo"
        return f"results/runs/{Run(lang, init, hours, int(seed)).path}/model.nemo"

    def zero_shot_prompt(self, lang: str, init: str) -> str | None:
        """What tells a model with prompts which language it hears."""
        return ((self.config["inits"][init]["zero_shot"] or {}).get("prompts") or {}).get(lang)

    def quantize_reports(self, lang: str | None = None) -> list[str]:
        """`quantize.json` of every quantised encoder."""
        return [
            f"results/runs/{run.path}/{precision}/{tier.name}/quantize.json"
            for run in self.runs(lang)
            for precision, tier in self.precisions(run)
            if precision != FULL
        ]

    def bundles(self) -> list[str]:
        """README of every deployable bundle: one a language, of the configured kind."""
        wanted = self.config["bundle"]
        if wanted is None:
            return []
        return [
            f"results/bundles/{run.path}/{wanted['precision']}/{wanted['tier']}/README.md"
            for lang in self.languages
            for run in self.runs(lang)
            if run.init == wanted["init"]
            and run.hours == self.budgets(lang)[-1]
            and run.seed == self.config["seeds"][0]
        ]

    def bundle_hypotheses(
        self, lang: str, init: str, hours: str, seed: str, precision: str, tier: str
    ) -> list[str]:
        """Hypothesis files that a bundle's README has its rates from: the run's own at this tier,
        those of its precision first, then those of `full`. A precision that the study does not
        decode there has none.
        """
        run = Run(lang, init, hours, int(seed))
        decoded = [name for name, at in self.precisions(run) if at.name == tier]
        return [
            f"results/hypotheses/{run.path}/{name}/{tier}/{test_set}.jsonl"
            for name in dict.fromkeys([precision, FULL])
            if name in decoded
            for test_set in self.test_sets(lang)
        ]

    def bundle_tiers(self) -> list[str]:
        """Tiers that a bundle can be made for: it streams, and its encoder is exported."""
        return [tier.name for tier in self.tiers.values() if not tier.offline and tier.exportable]

    def bundle(
        self,
        lang: str | None = None,
        init: str | None = None,
        hours: str | None = None,
        precision: str | None = None,
        tier: str | None = None,
        seed: str | None = None,
    ) -> str:
        """README of the bundle of a run that somebody names; what is left open comes from `bundle:`
        of the configuration.

        Raises:
            UserError: something is not named and has no default, or is not in the study.
        """
        defaults = self.config["bundle"] or {"precision": FULL}
        wanted = {
            "LANG": (lang, self.languages),
            "INIT": (init, self.inits),
            "HOURS": (hours, self.budgets(lang) if lang in self.languages else []),
            "PRECISION": (precision or defaults["precision"], list(self.config["precisions"])),
            "TIER": (tier or defaults.get("tier"), self.bundle_tiers()),
            "SEED": (
                seed or str(self.config["seeds"][0]),
                [str(known) for known in self.config["seeds"]],
            ),
        }
        for name, (value, allowed) in wanted.items():
            if value is None:
                raise UserError(
                    f"{name} is not given: make bundle LANG={self.languages[0]} "
                    f"INIT={self.inits[-1]}"
                    f" HOURS={self.budgets(self.languages[0])[-1]} [PRECISION=...] [TIER=...] "
                    "[SEED=...]"
                )
            if value not in allowed:
                raise UserError(
                    f"{name}={value} is not in this study; allowed: {', '.join(allowed)}"
                )
        run = Run(lang, init, hours, int(wanted["SEED"][0]))
        return f"results/bundles/{run.path}/{wanted['PRECISION'][0]}/{wanted['TIER'][0]}/README.md"

    # ---- slices that rules pass on

    def corpus_settings(self, corpus: str, lang: str) -> dict[str, Any]:
        """Block of a corpus plus the language's own code in it; without what changes neither
        download nor manifests."""
        settings = self.corpus_block(corpus, lang)
        if settings["kind"] != "synthetic":
            settings.pop("hours", None)
        for key in ("train_split", "licence", "max_drop_fraction", "speakers_of"):
            settings.pop(key, None)
        if "dataset_ids" in settings:
            # Not those of other languages: adding one must not fetch this one again.
            settings["dataset_ids"] = {
                code: name
                for code, name in settings["dataset_ids"].items()
                if code == settings["code"]
            }
        return settings

    def corpus_block(self, corpus: str, lang: str) -> dict[str, Any]:
        """Block of a corpus with what the language says of its own in it."""
        settings = consistency.corpus_block(
            self.config, corpus, lang, self.language(lang)["corpora"][corpus]
        )
        if "directory" in settings:
            settings["directory"] = self.source_path(
                settings["directory"].replace("{lang}", lang).replace("{code}", settings["code"])
            )
        return settings

    def manifest_limit(self, corpus: str, lang: str) -> float | None:
        """Share of unusable recordings that stops a manifest; None = the program's own."""
        return self.corpus_block(corpus, lang).get("max_drop_fraction")

    def pool_settings(self, lang: str) -> dict[str, Any]:
        """What `build_pool.py` needs; without the share of dropped cuts that stops it, which
        changes nothing in a pool."""
        filters = {
            key: value
            for key, value in self.config["filters"].items()
            if key != "max_drop_fraction"
        }
        settings = {"text": self.text(lang), "filters": filters}
        if speakers_of := self.speakers_of(lang):
            settings["speakers_of"] = speakers_of
        return settings

    def speakers_of(self, lang: str) -> dict[str, str]:
        """corpus -> whose speaker ids a language's recordings of it have, for corpora that do not
        number their own people.

        Two releases of Common Voice, say: a client id is the publisher's, in all of them.
        """
        blocks = {
            corpus: self.corpus_block(corpus, lang) for corpus in self.language(lang)["corpora"]
        }
        named = {
            corpus: block.get("speakers_of")
            or (block["kind"] if block["kind"] in PUBLISHERS_SPEAKERS else corpus)
            for corpus, block in blocks.items()
        }
        return {corpus: name for corpus, name in named.items() if name != corpus}

    def source_path(self, path: str) -> str:
        """A path of the configuration: absolute as it is, relative ones from the folder of the
        Snakefile."""
        return str(self.base / path) if not Path(path).is_absolute() else path

    def training_settings(self) -> dict[str, Any]:
        """What `train.py` needs of the recipe, without its pace."""
        settings = recipe.of_model(self.config["training"])
        if (manifest := self.training_noise()) is None:
            return settings
        how = {key: self.config["noise"]["training"][key] for key in ("snr_db", "probability")}
        return {**settings, "noise": {"manifest": manifest, **how}}

    def training_pace(self) -> dict[str, Any]:
        """What `train.py` needs beside it; no model changes with it."""
        return recipe.pace(self.config["training"])

    def tokenizer_settings(self, lang: str) -> dict[str, Any]:
        """What `train_tokenizer.py` needs; what is replayed must be writable too."""
        settings = {**self.text_settings(lang), **self.config["tokenizer"]}
        if (pool := self.replay_pool()) is None:
            return settings
        return {
            **settings,
            "replay": {"pool": pool, "fraction": self.config["training"]["replay"]["fraction"]},
        }

    def text_settings(self, lang: str) -> dict[str, Any]:
        """The normaliser of a language, and those of its test sets that are in another one."""
        settings = {"text": self.text(lang)}
        if replayed := self.replayed_test_sets():
            other = self.text(self.config["training"]["replay"]["lang"])
            settings["test_set_text"] = dict.fromkeys(replayed, other)
        return settings

    def statistics_settings(self) -> dict[str, Any]:
        """What `aggregate.py` needs; a replayed language has rates and no gap, the bare export is a
        second baseline."""
        settings = dict(self.config["statistics"])
        if replayed := self.replayed_test_sets():
            settings["not_compared"] = list(replayed)
        if exports := [
            name
            for name, wanted in self.config["precisions"].items()
            if wanted.get("scheme") == "fp32"
        ]:
            settings["exports"] = exports
        return settings

    def quantization_settings(self, precision: str) -> dict[str, Any]:
        """What `quantize.py` needs of a precision; where it is used is not part of what it
        makes."""
        return {
            key: value
            for key, value in self.config["precisions"][precision].items()
            if key not in ("tiers", "budgets")
        }

    def only_in_onnxruntime(self, precision: str) -> bool:
        """Whether a precision is something that PyTorch does not compute: int8 activations, or the
        export itself."""
        settings = self.config["precisions"][precision]
        return settings["scheme"] == "fp32" or settings["accuracy_level"] > 0

    def decoding_settings(self, precision: str) -> dict[str, Any]:
        """What `decode.py` needs to know; what only ONNX Runtime computes is decoded on the CPU."""
        return {
            **self.config["decoding"],
            **({"device": "cpu"} if self.only_in_onnxruntime(precision) else {}),
        }

    def decode_gpus(self, precision: str) -> int:
        """GPUs of a decode job."""
        return 0 if self.only_in_onnxruntime(precision) else self.gpus("decode")

    def pretraining_settings(self, init: str) -> dict[str, Any]:
        """Recipe of one init's pretraining, with the architecture that all inits share."""
        recipe = self.config["inits"][init]["pretrain"]
        text = {lang: self.text(lang) for lang in recipe["languages"]}
        return {**recipe, "model": self.config["training"]["model"], "text": text}

    def bundle_settings(self, lang: str) -> dict[str, Any]:
        """What `describe_bundle.py` scores with."""
        wanted = ("replicates", "confidence", "seed")
        return {
            **self.text_settings(lang),
            "statistics": {key: self.config["statistics"][key] for key in wanted},
        }

    def bundle_origin(self, lang: str, init: str) -> dict[str, Any]:
        """The licence chain of a bundle."""
        donor = self.config["inits"][self.donor(init)]
        wanted = self.config["bundle"] or {}
        # `make bundle` makes one of a study without a `bundle:` too, whose defaults nobody has
        # filled in then.
        default = (
            None
            if wanted
            else load_config(SCHEMA)["properties"]["bundle"]["properties"]["licence"]["default"]
        )
        example = self.config["test_sets"][self.test_sets(lang)[0]]["corpus"]
        return {
            "licence": wanted.get("licence", default),
            "init": {
                "name": donor["name"],
                "licence": donor.get("licence"),
                "source": donor.get("hf", {}).get("repo", donor.get("path")),
                "random": self.donor(init) != init,
            },
            "corpora": {
                corpus if code == lang else f"{corpus} ({code})": licences
                for code in [
                    lang,
                    *(other for other in self.pooled_languages if other not in self.languages),
                ]
                for corpus, licences in self.licences(code).items()
            },
            "example": {"corpus": example, "licence": licence(self.corpus_block(example, lang))},
        }

    def licences(self, lang: str) -> dict[str, str | None]:
        """Licences of the corpora that feed a language's pool."""
        return {
            corpus: licence(self.corpus_block(corpus, lang))
            for corpus in self.language(lang)["training_corpora"]
        }

    def display_settings(self) -> dict[str, Any]:
        """What figures and report say of the study without having computed it."""
        return {
            "study": self.config["study"],
            "statistics": self.config["statistics"],
            "languages": {lang: self.language(lang)["name"] for lang in self.languages},
            "inits": {
                name: {"name": init["name"], "licence": init.get("licence"), "seen": init["seen"]}
                for name, init in self.config["inits"].items()
            },
            "tiers": {
                name: {**tier.as_json(), "lookahead_ms": tier.lookahead_ms}
                for name, tier in self.tiers.items()
            },
            "test_sets": list(self.config["test_sets"]),
            "replayed_test_sets": list(self.replayed_test_sets()),
            "replayed_languages": {
                lang: self.language(lang)["name"]
                for lang in self.pooled_languages
                if lang not in self.languages
            },
        }

    def init_source(self, init: str) -> dict[str, Any]:
        """Where `download_init.py` finds an init on the hub. Not its digest: who pins what is there
        must not train again."""
        hub = self.config["inits"][init].get("hf", {})
        return {key: value for key, value in hub.items() if key != "sha256"}

    def init_digest(self, init: str) -> str | None:
        """The digest that an init's file must have, if one is pinned."""
        settings = self.config["inits"][init]
        return settings.get("hf", settings).get("sha256")

    def check_digests(self) -> None:
        """Compare what is pinned with what was fetched.

        Raises:
            UserError: a file is here that is not the pinned one.
        """
        for name, init in self.config["inits"].items():
            copy, given = Path(f"resources/inits/{name}.json"), init.get("path")
            digest = self.init_digest(name)
            # A given file that is newer than its copy is about to be copied, and checked then.
            if (
                digest is None
                or not copy.exists()
                or (given and _newer(Path(self.source_path(given)), copy))
            ):
                continue
            found = json.loads(copy.read_text(encoding="utf-8"))["sha256"]
            if found != digest:
                raise UserError(
                    f"inits.{name}: sha256 is {digest}, but resources/inits/{name}.nemo has "
                    f"{found}; correct the "
                    f"digest, or remove that file to fetch it again"
                )

    def donor(self, init: str) -> str:
        """The init whose file a run reads: itself, or the one whose architecture a run from scratch
        copies."""
        return self.config["inits"][init].get("scratch", init)

    def donors(self) -> list[str]:
        """Inits that have a file of their own."""
        return [init for init in self.inits if self.donor(init) == init]

    def inits_at_hand(self) -> dict[str, Path]:
        """Inits whose file is on this machine already, as fetched or where the configuration says
        it is."""
        found = {}
        for name, init in self.config["inits"].items():
            places = [Path(self.source_path(init["path"]))] if "path" in init else []
            places += [Path(f"resources/inits/{name}.nemo")]
            if (path := next((path for path in places if path.is_file()), None)) is not None:
                found[name] = path
        return found

    def gpus(self, stage: str) -> int:
        """GPUs of a `train` or `decode` job."""
        return self.config["resources"][f"{stage}_gpus"]

    # ---- checks

    @property
    def _known_corpora(self) -> set[str]:
        return set(self.config["corpora"])

    def _check(self) -> None:
        self._check_tiers()
        self._check_precisions()
        recipe.check(self.config)
        consistency.check(self.config)
        for name, source in self.config["test_sets"].items():
            if "noise_snr_db" in source:
                if self.config["noise"] is None:
                    raise UserError(
                        f"test_sets.{name} has noise_snr_db, but no recordings: set noise.directory"
                    )
                clean = {key: source[key] for key in ("corpus", "split")}
                if clean not in self.config["test_sets"].values():
                    raise UserError(
                        f"test_sets.{name} is noisy; define its clean set {clean} too: it guards "
                        "the pool"
                    )
        for lang in self.languages:
            self._check_language(lang)
        self._check_replay()
        for lang, block in self.config["support_languages"].items():
            for corpus in block["corpora"]:
                _allow(f"support_languages.{lang}.corpora", corpus, self._known_corpora)
        for key in ("baseline", "challenger"):
            _allow(f"statistics.{key}", self.config["statistics"][key], self.inits)
        _allow(
            "statistics.headline_test_set",
            self.config["statistics"]["headline_test_set"],
            self.config["test_sets"],
        )
        _allow("statistics.reference_tier", self.config["statistics"]["reference_tier"], self.tiers)
        for name, init in self.config["inits"].items():
            given = [key for key in ("hf", "path", "scratch") if key in init]
            if len(given) > 1 or not (given or "pretrain" in init):
                raise UserError(
                    f"inits.{name} names {given or 'no source'}: give exactly one of hf, path, "
                    "scratch, or pretrain alone"
                )
            if "scratch" in init:
                _allow(
                    f"inits.{name}.scratch",
                    init["scratch"],
                    [other for other in self.inits if other != name],
                )
            self._check_zero_shot(name, init)
            for lang in (init.get("pretrain") or {}).get("languages", []):
                self.language(lang)
                if lang in self.config["languages"]:
                    raise UserError(
                        f"inits.{name}.pretrain.languages has {lang!r}, a target language of this "
                        "study: the warm start would "
                        f"have seen it; take it out of one of the two"
                    )
        if (bundle := self.config["bundle"]) is not None:
            _allow("bundle.init", bundle["init"], self.inits)
            _allow("bundle.tier", bundle["tier"], self.bundle_tiers())
            _allow("bundle.precision", bundle["precision"], self.config["precisions"])

    def _check_tiers(self) -> None:
        contexts = [tuple(context) for context in self.config["training"]["model"]["contexts"]]
        for tier in self.tiers.values():
            here = f"tiers.{tier.name}.context"
            if tier.left % (tier.right + 1):
                # conformer_encoder.py raises the same, an hour into the job.
                fits = [right for right in range(tier.left) if tier.left % (right + 1) == 0]
                raise UserError(
                    f"{here} is [{tier.left}, {tier.right}]: the left context must be a multiple "
                    "of the chunk "
                    f"(right + 1 = {tier.right + 1}); right contexts that fit left {tier.left}: "
                    f"{fits}"
                )
            if (tier.left, tier.right) not in contexts:
                raise UserError(
                    f"{here} is [{tier.left}, {tier.right}], a context the models are not trained "
                    "with; add it "
                    f"to training.model.contexts ({[list(context) for context in contexts]}) or "
                    "take one of those"
                )
            if tier.name == "offline" and not tier.offline:
                raise UserError("tiers.offline streams: give it `offline: true`, or another name")
            named = re.fullmatch(r"(\d+)ms", tier.name)
            if named and int(named[1]) != tier.lookahead_ms:
                raise UserError(
                    f"tiers.{tier.name} has right context {tier.right}, which is "
                    f"{tier.lookahead_ms} ms of lookahead: "
                    f"call it {tier.lookahead_ms}ms or set the right context to "
                    f"{int(named[1]) / (1000 * FRAME_S) - 1:g}"
                )

        most = max(right for _, right in contexts)
        offline = [tier.right for tier in self.tiers.values() if tier.offline]
        if offline and max(offline) < most:
            raise UserError(
                "no offline tier has the largest right context the models are trained with, "
                f"{most}: emission delays are "
                f"measured against it; set the context of one to [left, {most}]"
            )

    def _check_zero_shot(self, name: str, init: dict[str, Any]) -> None:
        if init["zero_shot"] is None:
            return
        if "scratch" in init or "pretrain" in init:
            kind = "has random weights" if "scratch" in init else "was pretrained here with CTC"
            raise UserError(
                f"inits.{name}.zero_shot: this init {kind} and has no decoder of its own; only a "
                "published transducer can be "
                f"decoded without fine-tuning: take the key out"
            )
        for lang in init["zero_shot"]["prompts"] or {}:
            _allow(f"inits.{name}.zero_shot.prompts", lang, self.languages)

    def _check_precisions(self) -> None:
        for name, precision in self.config["precisions"].items():
            if precision["tiers"] != "all":
                for tier in precision["tiers"]:
                    _allow(f"precisions.{name}.tiers", tier, self.tiers)
            if (name == FULL) != (precision.get("scheme") is None):
                raise UserError(
                    f"precisions.{name}.scheme is {precision.get('scheme')!r}: '{FULL}' is the "
                    "model as trained and has none, "
                    f"every other precision needs one (k_quant, rtn, fp32)"
                )
            for tier in (
                self.tiers.values()
                if precision["tiers"] == "all"
                else map(self.tiers.get, precision["tiers"])
            ):
                here = f"precisions.{name}.tiers: {tier.name}"
                if name != FULL and not tier.exportable:
                    raise UserError(
                        f"{here} has a left context of {tier.left}, but ONNX encoders need one of "
                        "2 frames or more; list other"
                        f" tiers for {name}; full can be decoded at this one"
                    )
                if tier.offline and self.only_in_onnxruntime(name):
                    raise UserError(
                        f"{here} is offline, but this precision exists as streaming steps of ONNX "
                        "Runtime only; list "
                        f"streaming tiers"
                    )

    def _check_language(self, lang: str) -> None:
        block = self.language(lang)
        for key in ("training_corpora", "corpora"):
            for corpus in block[key]:
                _allow(f"languages.{lang}.{key}", corpus, self._known_corpora)
        for corpus in (*block["training_corpora"], self.config["validation"]["corpus"]):
            if corpus not in block["corpora"]:
                raise UserError(
                    f"languages.{lang}.corpora has no code for {corpus!r}, which the language is "
                    "trained or validated on"
                )
        for test_set in block["test_sets"]:
            _allow(f"languages.{lang}.test_sets", test_set, self.config["test_sets"])
            corpus = self.config["test_sets"][test_set]["corpus"]
            if corpus not in block["corpora"]:
                raise UserError(
                    f"languages.{lang}.test_sets has {test_set!r}, but languages.{lang}.corpora "
                    "has no code for its corpus "
                    f"{corpus!r}"
                )
        self._check_budgets(lang)

    def _available(self, lang: str) -> tuple[float, str] | None:
        """Hours of a language's pool, and who says so: its report if it is there, else the
        publishers' statistics.

        None: somebody's own data, known once the pool is built; `subset_budget` and `mix_replay`
        check then.
        """
        corpora = self.language(lang)["training_corpora"]
        report = Path(f"results/pools/{lang}.qc.json")
        pool = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
        if pool is not None and set(pool["corpora"]) == set(corpora) and self._made_so(pool, lang):
            return pool["total"][
                "hours"
            ], f"as {report} counts them; remove it if its corpora have changed since"
        hours = {
            corpus: available_hours(self.corpus_block(corpus, lang), lang) for corpus in corpora
        }
        if None in hours.values():
            return None
        return sum(hours.values()), "before cleaning: " + " + ".join(
            f"{corpus} {value:g}" for corpus, value in hours.items()
        )

    def _made_so(self, pool: dict[str, Any], lang: str) -> bool:
        """Whether a pool was made with the settings of today; another is stale and about to be
        built again: it says nothing."""
        wanted = self.pool_settings(lang)
        filters = pool.get("filters", wanted["filters"])
        return (
            pool.get("text", wanted["text"]) == wanted["text"]
            and (pool.get("speakers_of") or {}) == wanted.get("speakers_of", {})
            and all(filters.get(key) == value for key, value in wanted["filters"].items())
        )

    def _check_budgets(self, lang: str) -> None:
        """Compare budgets with what there is."""
        if (found := self._available(lang)) is None:
            return
        available, source = found
        asked = sorted(self.language(lang)["budgets_hours"])
        if asked[-1] > available:
            fits = ", ".join(format_hours(value) for value in asked if value <= available)
            raise UserError(
                f"{lang}: {asked[-1]:g} h asked, {available:.4g} h available ({source}); budgets "
                f"that fit: {fits or 'none'}"
            )

    def _check_replay(self) -> None:
        """Compare the replayed share of the largest budget with what there is."""
        if (
            not (replay := self.config["training"].get("replay"))
            or (found := self._available(replay["lang"])) is None
        ):
            return
        available, source = found
        largest, lang = max(
            (hours, lang)
            for lang in self.languages
            for hours in self.language(lang)["budgets_hours"]
        )
        needed = replayed_hours(largest, replay["fraction"])
        if needed > available:
            most = available / (available + largest)
            raise UserError(
                f"training.replay.fraction is {replay['fraction']:g}: {needed:.4g} h of "
                f"{replay['lang']} beside {largest:g} h"
                f" of {lang}, {available:.4g} h available ({source}); lower it (at most "
                f"{most:.3g}), or give"
                f" support_languages.{replay['lang']} more training_corpora"
            )


def _newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime > other.stat().st_mtime


def _allow(place: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, list(allowed), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(
            f"config: {place} has {value!r}{hint}; allowed: {', '.join(sorted(allowed))}"
        )
