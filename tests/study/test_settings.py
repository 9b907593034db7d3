"""Settings: one canonical form, defaults in the schema alone, files named by their content."""

import copy

import pytest
import yaml
from conftest import ROOT

from warmstart.evidence.display import Display
from warmstart.study import config, paths, slices, stages
from warmstart.study.grid import Study
from warmstart.study.settings_files import SettingsFiles


def study(made: dict | None = None) -> Study:
    made = made or config.load_config(ROOT / "demo.yaml")
    config.validate(made)
    return Study(made, ROOT)


def every_slice(one: Study) -> dict[str, dict]:
    """The settings of each stage, as rules pass them on."""
    lang = one.languages[0]
    made = {
        "pool": slices.pool(one, lang),
        "tokenizer": slices.tokenizer(one, lang),
        "texts": slices.texts(one, lang),
        "train": slices.training(one, "ml"),
        "pretrain": slices.pretraining(one, "ml"),
        "quantize": slices.quantization(one, "int4"),
        "decode": slices.decoding(one, "full"),
        "score": slices.scoring(one, lang),
        "statistics": slices.statistics(one),
        "bundle": slices.bundle(one, lang),
    }
    return {stage: stages.canonical(stage, value) for stage, value in made.items()}


def test_canonical_settings_are_those_that_are_not_the_default():
    made = stages.canonical(
        "train",
        {"batch_duration_s": 20, "precision": "32", "optimizer": {"lr": 1, "betas": [0.9, 0.98]}},
    )
    assert made == {"batch_duration_s": 20, "optimizer": {"lr": 1}}
    assert stages.canonical("train", {"adaptation": {"kind": "full"}}) == {}
    assert stages.canonical("train", {"precision": "bf16-mixed"}) == {"precision": "bf16-mixed"}


@pytest.mark.parametrize("text", ["Ciao, l'AMICO - 3,5 perché 1.000!", "dix-sept  Œuvres"])
def test_the_normaliser_without_a_key_is_the_schemas_default(text):
    """The data room stands below the study's and reads no schema: the two must agree."""
    from warmstart.data.text import normalize

    bare = {"alphabet": "abcdefghijklmnopqrstuvwxyzàéèœ", "numbers": "it"}
    filled = stages.filled("texts", {"it": bare})["it"]
    assert set(filled) > set(bare)
    assert normalize(text, bare) == normalize(text, filled)


def test_filled_is_the_inverse_of_canonical():
    one = study()
    for stage, canonical in every_slice(one).items():
        assert stages.canonical(stage, stages.filled(stage, canonical)) == canonical
    whole = slices.training(one, "ml") | slices.pace(one, "ml")
    assert stages.filled("train", stages.canonical("train", whole)) == whole


def test_a_new_key_with_a_default_makes_nothing_stale(monkeypatch, tmp_path):
    """The schema gets a key in every block; a default that is filled in changes no file's name."""
    before = every_slice(study())
    schema = copy.deepcopy(config.schema())

    def grow(node) -> None:
        if isinstance(node, list):
            for one in node:
                grow(one)
        elif isinstance(node, dict):
            for child in list(node.values()):
                grow(child)
            if isinstance(node.get("properties"), dict) and "additionalProperties" in node:
                node["properties"]["brand_new"] = {"type": "integer", "default": 7}

    grow(schema)
    monkeypatch.setattr(config, "schema", lambda: schema)
    monkeypatch.setattr(stages, "schema", lambda: schema)
    stages._nodes.cache_clear()
    try:
        made = config.load_config(ROOT / "demo.yaml")
        config.validate(made)
        assert made["training"]["optimizer"]["brand_new"] == 7
        after = every_slice(Study(made, ROOT))
    finally:
        stages._nodes.cache_clear()
    assert after == before
    names = [
        [SettingsFiles().path(stage, value) for stage, value in slices_of.items()]
        for slices_of in (before, after)
    ]
    assert names[0] == names[1]


def test_a_file_of_settings_is_named_by_what_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = SettingsFiles()
    first = made.path("train", {"a": 1, "b": {"é": [1.5, None, "x"]}})
    assert first == made.path("train", {"b": {"é": [1.5, None, "x"]}, "a": 1})
    assert first != made.path("train", {"a": 2})
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"
    made.write()
    assert yaml.safe_load((tmp_path / first).read_text()) == {"a": 1, "b": {"é": [1.5, None, "x"]}}
    # One that a crash has cut is written again by the next Snakemake.
    whole = (tmp_path / first).read_bytes()
    (tmp_path / first).write_bytes(whole[: len(whole) // 2])
    again = SettingsFiles(live=True)
    assert again.path("train", {"a": 1, "b": {"é": [1.5, None, "x"]}}) == first
    assert (tmp_path / first).read_bytes() == whole
    later = made.path("decode", {"threads": 4})
    assert (tmp_path / later).exists(), "once begun, files are there when a job asks for them"
    ordered = SettingsFiles("planned", in_order=True)
    assert ordered.path("config", {"b": 1, "a": 2}) != ordered.path("config", {"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("log_every_steps", 3), ("num_workers", 3), ("validate_every_steps", 3)),
        *(("max_unreadable_fraction", 0.5), ("stall_minutes", 5), ("blank_validations", 0)),
        ("storage", "shar"),
    ],
)
def test_the_pace_of_a_training_is_no_part_of_what_it_makes(key, value):
    made = config.load_config(ROOT / "demo.yaml")
    made["training"][key] = value
    assert every_slice(study(made))["train"] == every_slice(study())["train"]


def test_nothing_in_the_package_knows_the_order_of_a_runs_keys_but_the_run():
    """`Run.PATTERN` and its inverse; and the page of a place in a path by its number."""
    import re

    pattern = re.compile(r"\{?(lang|training_set)\}?/\{?(init|arm)\}?/\{?hours|parts\[-\d:-1\]")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "workflow").rglob("*"))
        if path.suffix in (".py", ".smk")
        and path.name != "grid.py"
        and any(
            pattern.search(line)
            for line in path.read_text(encoding="utf-8").splitlines()
            if not line.lstrip().startswith("#")
        )
    ]
    assert found == []
    assert paths.hypothesis("RUN", "full", "560ms", "x").startswith("results/hypotheses/RUN/")


def keys_of(node: dict) -> set[str]:
    """Keys of a mapping in the schema, a reference followed."""
    root = config.schema()
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    return set(node["properties"])


def test_the_types_of_settings_have_the_keys_of_the_schema():
    from warmstart.data.text import TextSettings
    from warmstart.models import recipe

    definitions = config.schema()["$defs"]
    training = definitions["training"]["properties"]
    # Beside the recipe, and a training is told of them.
    stated = set(recipe.Recipe.__annotations__) - {"noise", "tokens", "distil", "round"}
    assert stated == set(training) - set(stages.RESOLVED)
    for made, key in [
        (recipe.Architecture, "model"),
        (recipe.Optimizer, "optimizer"),
        (recipe.Schedule, "schedule"),
        (recipe.Steps, "steps"),
        (recipe.SpecAugment, "spec_augment"),
        (recipe.EarlyStop, "early_stop"),
    ]:
        assert set(made.__annotations__) == keys_of(training[key]), key
    assert set(TextSettings.__annotations__) == set(definitions["text"]["properties"])


def test_figures_do_not_follow_what_the_page_alone_says():
    before = study()
    said = copy.deepcopy(before.config)
    said["corpora"]["human"]["licence"] = "CC0"
    said["test_sets"]["new_voices"]["description"] = "Voices of a synthesizer"
    said["report"]["audio"] = False
    after = study(said)
    assert slices.display(before) == slices.display(after)
    assert slices.page(before) != slices.page(after)
    said["test_sets"]["new_voices"]["name"] = "other voices"
    assert slices.display(before) != slices.display(study(said))


def test_a_test_set_is_named_and_described_where_nobody_says_anything():
    made = config.load_config(ROOT / "demo.yaml")
    made["test_sets"]["new_voices"] = {"corpus": "spoken", "split": "test_new"}
    display = Display.of(slices.page(study(made)))
    assert display.test_set("new_voices") == "new voices"
    told = display.described["new_voices"]
    assert told.description.startswith("Voices of the synthesizer espeak-ng")
    assert {one.unit for one in told.recordings.values()} == {"speaker"}
    assert {one.unit for one in display.described["human"].recordings.values()} == {"utterance"}
    # Of a published corpus, its own name; its terms may be narrower than its licence.
    full = Display.of(slices.page(study(config.load_config(ROOT / "config.yaml"))))
    assert [full.test_set(name) for name in full.test_sets] == [
        *("FLEURS", "Multilingual LibriSpeech", "VoxPopuli", "Common Voice")
    ]
    passed_on = {
        name: {one.passed_on for one in told.recordings.values()}
        for name, told in full.described.items()
    }
    assert passed_on == {
        **{"fleurs": {True}, "mls": {True}, "voxpopuli": {True}, "commonvoice": {False}}
    }
