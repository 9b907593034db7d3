"""Fine-tune one model from one donor on one budget: build, adapt, train, write, record."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from warmstart.adaptation import open_adaptation, peft_folder
from warmstart.adaptation.base import Adaptation
from warmstart.data import mixing, tokenizer
from warmstart.data.shar import Packed
from warmstart.models import kind_of, open_family
from warmstart.models.base import Donor, Recogniser
from warmstart.models.digests import tensors_digest
from warmstart.run import files, kept, vouchers
from warmstart.run.errors import UserError
from warmstart.study import recipe, rounds, run_length, stages
from warmstart.training import alignment, batch_profile, continued, distil, loop, record
from warmstart.training.distributed import Ranks
from warmstart.training.job import Job
from warmstart.training.recorder import Recorder
from warmstart.training.validation import Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Length:
    """How much a run hears.

    Attributes:
        heard: cuts and hours of the training set, those of a replayed language apart.
        steps: of the optimizer.
    """

    heard: mixing.Totals
    steps: int


@dataclass(frozen=True)
class Start:
    """A model as training begins.

    Attributes:
        donor: what was read of it.
        recogniser: with the donor's weights and the modules of the adaptation.
        adaptation: of the run.
        encoder_tensors: of what a donor gives, without what the adaptation put in.
        digests: part -> digest of its weights.
        architecture: digest of names and shapes of its weights without the adaptation's.
    """

    donor: Donor
    recogniser: Recogniser
    adaptation: Adaptation
    encoder_tensors: int
    digests: dict[str, str]
    architecture: str


def fine_tune(job: Job) -> None:
    """Do the job: the model, train.csv and run.json are there at its end.

    Of several processes of one run each calls this.

    Raises:
        UserError: bad settings, a donor that does not fit, or see `alignment.count` and `loop.fit`.
        SystemExit: see `loop.fit`.
    """
    started = time.monotonic()
    ranks = Ranks(job.settings["devices"], job.settings["num_nodes"])
    if ranks.first:
        write_settings(job)
    # Inputs are digested before training: a file replaced meanwhile must not enter the record.
    digests = input_digests(job)
    made_of = everything(job, digests, ranks.world)
    # As each process does for itself: they see the same files and come to the same end.
    if kept.take_back(job.run_dir, made_of, outputs_of(job), give=ranks.first):
        logger.info("%s: made of the same inputs and settings before, nothing trained", job.output)
        return
    length = run_length_of(job, ranks)
    start = begin(job, length)
    logger.info(
        "%d cuts, %.4f h, %d steps, %d encoder tensors from %s",
        *(length.heard.cuts, length.heard.hours, length.steps),
        *(start.recogniser.loaded_tensors, "nowhere" if job.from_scratch else job.donor),
    )
    learnable = alignment.count(
        start.recogniser,
        job.train_cuts,
        length.heard.cuts,
        job.settings["speed_perturb"],
        job.targets,
    )
    if job.profile is not None and job.batch_profile is not None:
        job.profile.require(job.batch_profile, start.architecture, job.settings)
    recorder = train(job, start, length, identity(job, digests))
    if not ranks.first:
        return
    write(job, start, recorder, described(job, ranks, length, digests) | learnable.record())
    kept.vouch(job.run_dir, made_of, outputs_of(job))
    logger.info(
        "%s after %.0f s; dev WER %s",
        job.output,
        time.monotonic() - started,
        recorder.last_row.get("dev_wer"),
    )


def train(job: Job, start: Start, length: Length, identity: dict[str, Any]) -> Recorder:
    """Go through all steps; validate where the job has held-out cuts.

    Raises:
        UserError, SystemExit: see `loop.fit`.
    """
    validate = None
    if job.dev_cuts:
        held_out = [(path, job.text.get(lang)) for lang, path in job.dev_cuts.items()]
        validate = Validation(
            start.recogniser,
            held_out,
            job.settings["batch_duration_s"],
            job.settings["max_unreadable_fraction"],
            job.targets,
        )
    return loop.fit(
        start.recogniser,
        job.train_cuts,
        job.settings,
        steps=length.steps,
        seed=job.seed,
        run_dir=job.run_dir,
        total_hours=length.heard.hours,
        validate=validate,
        identity=identity,
        callbacks=start.adaptation.callbacks(start.recogniser),
        targets=job.targets,
        profile=job.profile,
        packed=Packed.of(job.train_cuts, list(job.packed.values())),
    )


def described(job: Job, ranks: Ranks, length: Length, digests: dict[str, Any]) -> dict[str, Any]:
    """What run.json says of a run before its first step."""
    heard = length.heard
    return {
        **vars(job.run),
        "family": job.family,
        "adaptation": job.adaptation,
        "steps_planned": length.steps,
        "cuts": heard.cuts,
        "hours_budget": round(heard.hours, 6),
        "language_hours": {lang: round(hours, 6) for lang, hours in heard.language_hours.items()},
        "replay_hours": round(heard.replayed_hours, 6),
        "input_digests": digests,
        "settings": job.settings,
        # Says where the donor came from: repository, revision, digest (download_init.py).
        "init_source": source_of(job.donor),
        "devices": ranks.devices,
        "num_nodes": ranks.nodes,
        **({"phonemiser": about} if (about := job.targets.about()) else {}),
    }


def write(job: Job, start: Start, recorder: Recorder, about: dict[str, Any]) -> None:
    """Write the model and run.json.

    Args:
        job: of the run.
        start: whose recogniser is trained by now.
        recorder: of the training.
        about: what else run.json says.
    """
    learnt = {
        "trained_parameters": record.trained_parameters(start.recogniser),
        "trained_share": record.trained_share(start.recogniser),
        "trained_mb": record.trained_mb(start.recogniser),
    }
    start.adaptation.write(start.recogniser, job.run_dir)
    start.adaptation.finish(start.recogniser)
    loop.save(start.recogniser, job.output)
    recorder.starts.note(recorder.state["step"])
    files.write_json(
        job.run_dir / "run.json",
        {
            **about,
            **recorder.totals,
            "encoder_tensors_loaded": start.recogniser.loaded_tensors,
            "encoder_tensors": start.encoder_tensors,
            **learnt,
            "parameters": record.parameters(start.recogniser),
            "start_digests": start.digests,
            **_of_family(job, start.recogniser),
            "init_facts": start.donor.about(),
            "model_sha256": files.digest(job.output),
            **beside(job),
            **record.of_process(),
        },
    )


def outputs_of(job: Job) -> list[Path]:
    """What a finished run consists of."""
    beside = [job.run_dir / name for name in job.writes]
    return [job.output, *beside, job.run_dir / "train.csv", job.run_dir / "run.json"]


def beside(job: Job) -> dict[str, dict[str, str]]:
    """What the record of a run says of the files that its adaptation wrote beside the model."""
    digests = {name: files.digest(job.run_dir / name) for name in job.writes}
    return {"beside_sha256": digests} if digests else {}


def run_length_of(job: Job, ranks: Ranks) -> Length:
    """Count the cuts, resolve the steps.

    Raises:
        UserError: no cuts, or a run that ends before its learning rate has come up.
    """
    heard = mixing.totals(job.train_cuts)
    # An epoch is a pass over all that is heard, as it is heard.
    stretch = run_length.stretch(job.settings["speed_perturb"])
    of_round = job.settings.get("round")
    hours = (of_round or {}).get("hours", heard.hours + heard.replayed_hours)
    steps = run_length.resolve_steps(
        job.settings["steps"],
        hours * stretch,
        (job.profile.seconds if job.profile else job.settings["batch_duration_s"]) * ranks.world,
    )
    if of_round:
        steps = rounds.steps_between(steps, of_round["share"])
    recipe.check_warmup(job.settings, steps)
    require_taught(job, heard)
    return Length(heard, steps)


def require_taught(job: Job, heard: mixing.Totals) -> None:
    """Refuse a head that no cut would teach, and cuts without a head.

    Raises:
        UserError: with the language.
    """
    if not job.heads:
        return
    spoken = {*heard.language_hours, *heard.replayed_languages}
    if idle := [lang for lang in job.heads if lang not in spoken]:
        raise UserError(
            f"{job.train_cuts}: no cut of {', '.join(idle)}, whose head would stay as it was "
            "drawn; take the language out of the training set, or give it speech"
        )
    if strange := sorted(spoken - set(job.heads)):
        raise UserError(
            f"{job.train_cuts}: cuts of {', '.join(strange)}, and there are heads of "
            f"{', '.join(job.heads)}; add --tokenizer {strange[0]}=FOLDER"
        )


def begin(job: Job, length: Length) -> Start:
    """Read the donor, build the model around it, put in what the adaptation brings.

    Raises:
        UserError: a donor of another kind than the init it is compared with, one that does not fit,
            or an adaptation that the model cannot have.
    """
    family = open_family(job.family)
    donor = family.read_donor(job.donor)
    if job.compared_with is not None:
        other, path = job.compared_with
        family.require_same_kind({other: path, job.init: job.donor}, job.settings)
    adaptation = open_adaptation(job.adaptation)
    trained_tokenizer = kind_of(job.family).tokenizer == "trained"
    for model in (job.tokenizer_model, *job.head_tokenizers.values()):
        if trained_tokenizer and model is not None:
            tokenizer.require_whole(model)
    shared: Any = {
        "seed": job.seed,
        "steps": length.steps,
        "take_weights": not job.from_scratch,
        "adaptable": adaptation.adds_modules,
    }
    if job.heads:
        recogniser = family.build_heads(donor, job.settings, tokenizers=job.heads, **shared)
    else:
        own = job.tokenizer if trained_tokenizer else None
        recogniser = family.build(donor, job.settings, tokenizer=own, **shared)
    parts = recogniser.parts()
    encoder_tensors = sum(len(parts[name].state_dict()) for name in recogniser.pretrained_parts)
    architecture = batch_profile.model_digest(recogniser)
    adaptation.take_experts(job.experts)
    adaptation.hears(sorted(length.heard.language_hours), sorted(length.heard.replayed_languages))
    if job.start:
        continued.insert(adaptation, recogniser, job.seed, continued.weights(family, job.start))
    else:
        adaptation.insert(recogniser, job.seed)
    if job.teachers:
        own = job.tokenizer if trained_tokenizer else None
        donors = family.build(donor, job.settings, tokenizer=own, **shared)
        teacher = distil.Teacher(donors, job.teachers)
        logger.info("%d weights are the teachers' and the student's", teacher.share(recogniser))
        distil.teach(recogniser, teacher, job.settings.get("distil", {}))
    digests = {name: tensors_digest(part) for name, part in recogniser.parts().items()}
    return Start(donor, recogniser, adaptation, encoder_tensors, digests, architecture)


def _of_family(job: Job, recogniser: Recogniser) -> dict[str, Any]:
    """What a record says of models whose donors give more than an encoder."""
    found: dict[str, Any] = {}
    if kind_of(job.family).tokenizer == "own":
        found["tokenizer"] = "own"
    if recogniser.pretrained_parts != Recogniser.pretrained_parts:
        found["pretrained_parts"] = list(recogniser.pretrained_parts)
    return found


def write_settings(job: Job) -> None:
    """Write the resolved settings into the run folder, in the form that `--settings` takes."""
    text = yaml.safe_dump(job.settings, allow_unicode=True, sort_keys=True)
    files.write_text(job.run_dir / "settings.yaml", text)


def input_digests(job: Job) -> dict[str, Any]:
    """SHA-256 of everything that a run reads; None for what it does not.

    Raises:
        UserError: the donor is not what its record says.
    """
    paths = {
        "train_cuts": job.train_cuts,
        "tokenizer": job.tokenizer_model,
        "init": None if job.from_scratch else job.donor,
        "noise": job.noise,
    }
    if job.batch_profile:  # no key else: the records of runs without stay what they are
        paths["batch_profile"] = job.batch_profile
    found: dict[str, Any] = {
        name: files.digest(path) if path else None for name, path in paths.items()
    }
    if paths["init"]:
        vouchers.verified(paths["init"], found["init"])
    for name, folders in (("experts", job.experts), ("teachers", job.teachers)):
        if folders:
            found[name] = {lang: _folder_digests(folder) for lang, folder in folders.items()}
    if job.start:
        found["start"] = vouchers.verified(job.start)
    if job.heads:
        models = job.head_tokenizers
        found["tokenizer"] = {lang: files.digest(path) for lang, path in models.items()}
    return found | {"dev_cuts": {lang: files.digest(path) for lang, path in job.dev_cuts.items()}}


def _folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of an expert.

    Raises:
        UserError: they are not those that its run wrote.
    """
    names = (peft_folder.CONFIG, peft_folder.TENSORS)
    found = {name: files.digest(folder / name) for name in names}
    unsaid = "the updates are not compared with it"
    record = files.read_if_whole(folder.with_name("run.json"), dict, unsaid, aside=False) or {}
    for name, digest in found.items():
        noted = record.get("beside_sha256", {}).get(f"{folder.name}/{name}", digest)
        if noted != digest:
            raise UserError(
                f"{folder / name}: its SHA-256 is {digest}, and run.json beside it says {noted}; "
                "remove the folder, and run the workflow again, which trains it anew"
            )
    return found


def identity(job: Job, digests: dict[str, Any]) -> dict[str, Any]:
    """What decides the weights beside the settings: checkpoints of anything else are not continued.

    Held-out cuts do only where they decide when a run ends.
    """
    inputs: dict[str, Any] = {**digests, "dev_cuts": None}
    if recipe.stops_early(job.settings):
        inputs |= {"dev_cuts": digests["dev_cuts"], "dev_text": job.text}
    if phonemiser := job.targets.about():
        inputs |= {"phonemiser": phonemiser}
    return {"version": job.version, "family": job.family, **vars(job.run), "inputs": inputs}


def everything(job: Job, digests: dict[str, Any], processes: int) -> dict[str, Any]:
    """What decides a run's model and validations: where nothing of it differs, a finished run is
    taken back.

    Args:
        job: of the run.
        digests: of its inputs.
        processes: that train together.
    """
    return {
        **identity(job, digests),
        "inputs": digests,
        # A run from scratch has its donor's architecture, though none of its weights.
        "donor": digests["init"] or files.digest(job.donor),
        "adaptation": job.adaptation,
        "dev_text": job.text,
        "settings": stages.canonical("train", recipe.of_model(job.settings)),
        "processes": processes,
    }


def source_of(donor: Path) -> dict[str, Any] | None:
    """What `download_init.py` wrote beside a donor; None if nothing."""
    path = donor.with_suffix(".json")
    unsaid = "the record of the run does not say where the donor came from"
    return files.read_if_whole(path, dict, unsaid, aside=False)
