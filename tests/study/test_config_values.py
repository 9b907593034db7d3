"""Values that no program could work with are found in the configuration, whatever their key."""

import copy
import itertools
import json

import pytest
from conftest import ROOT

from warmstart import adaptation
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study import checks, slices
from warmstart.study.config import load_config, read_config, validate
from warmstart.study.grid import Study

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def demo() -> dict:
    return load_config(ROOT / "demo.yaml")


def make(config: dict) -> Study:
    config = copy.deepcopy(config)
    validate(config)
    study = Study(config, ROOT)
    checks.check(study)
    return study


def put(config: dict, path: str, value) -> dict:
    *parents, last = path.split(".")
    node = config
    for part in parents:
        node = node[part]
    node[last] = value
    return config


def numbers(node, place=""):
    """Place of every number of a configuration."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, f"{place}.{key}" if place else key)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield place


def test_a_number_that_is_not_finite_is_refused_under_every_key(demo):
    validate(demo)  # with every default
    written = json.dumps(demo)  # no block is another one's alias
    places = list(numbers(json.loads(written)))
    assert len(places) > 60
    for place, value in zip(places, itertools.cycle([NAN, INF, -INF])):
        with pytest.raises(UserError) as caught:
            validate(put(json.loads(written), place, value))
        assert place in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("training.optimizer.lr", NAN, r"training\.optimizer\.lr is nan, .* finite numbers"),
        ("training.speed_perturb", [1.0, NAN], r"training\.speed_perturb\.1 is nan"),
        ("training.adaptation", {"kind": "adapter", "dim": NAN}, r"training\.adaptation\.dim is"),
        ("plan_hours", [INF], r"plan_hours\.0 is inf"),
        ("training.optimizer.lr", 1e300, r"training\.optimizer\.lr is 1e\+300; allowed: 0, and"),
        ("training.steps.fixed", 10**400, r"training\.steps\.fixed is a number of more than 30"),
        ("seeds", [5000000000], r"seeds\.0 is 5000000000; allowed: at most 4294967295"),
        ("seeds", [1.5], r"seeds\.0 is 1\.5; allowed: a whole number"),
        ("statistics.seed", 2**32, r"statistics\.seed is 4294967296; .* at most 4294967295"),
        ("inits.en.pretrain.seed", 2**32, r"inits\.en\.pretrain\.seed .*at most 4294967295"),
        ("corpora.spoken.seed", 2**32, r"corpora\.spoken\.seed is .*at most 4294967295"),
        ("training.optimizer.betas", [0.9, 1.0], r"betas\.1 is 1\.0; allowed: less than 1"),
        ("tokenizer.character_coverage", 0.5, r"character_coverage is 0\.5; .*at least 0\.98"),
        ("training.model.dropout", 1.0, r"training\.model\.dropout is 1\.0; .*less than 1"),
        ("training.model.n_heads", 3, r"d_model is 128, which 3 heads"),
        ("training.model.conv_kernel_size", 8, r"conv_kernel_size is 8; .*an odd one"),
        ("languages.it.name", "", r"languages\.it\.name is '', an empty text"),
        ("corpora.human.directory", "a\0b", r"corpora\.human\.directory .*control character"),
        ("corpora.human.directory", "a\nb", r"corpora\.human\.directory .*line break"),
        ("study.title", "\ud800", r"study\.title has '\\ud800', half of a character"),
        ("study.title", "x" * 1001, r"study\.title has 1001 letters; allowed: 1000"),
        ("arms", {"x" * 256: {"init": "en"}}, r"arms has a name of 256 letters .*allowed: 100"),
        # `$` of a pattern matches before a line break too.
        ("arms", {"en\n": {"init": "en"}}, r"arms has the name 'en\\n' with a line break"),
        ("languages.it.text.numbers", False, r"numbers is False; .*put it in quotes"),
        ("languages.it.corpora.human", {"code": False}, r"corpora\.human\.code is False; .*text"),
        (
            "training.early_stop",
            {"metric": "dev_wer", "patience": 5},
            r"after 5 validations .*validate_every_steps 480 a run of 480 steps has 1: lower",
        ),
        (
            "languages.it.budgets_hours",
            [0.00001, 0.02],
            r"languages\.it\.budgets_hours has 1e-05, 0\.036 s, .*min_duration_s, 0\.3 s",
        ),
        (
            "inits.ml.pretrain.hours",
            20,
            r"inits\.ml\.pretrain\.hours is 20, 4 h of each of 5 languages; .* has 2\.3 h of en",
        ),
        ("tiers.fast", {"context": [70, 1]}, r"tiers\.160ms and tiers\.fast are one"),
        ("training.steps", {"fixed": 480, "min": 9}, r"min are bounds of `epochs`"),
        ("training.model.context_probs", [0.5, 0.5, 0, 0], r"tiers\.160ms.*never draws"),
        ("statistics.confidence", 0.9999, r"give at least 20000 replicates, or a lower conf"),
        ("languages.fr.name", "Italian", r"languages\.it and languages\.fr are both called 'It"),
        ("inits.ml.name", "English-only", r"inits\.en and inits\.ml are both called 'English-o"),
        ("languages.it.text.keep", "'-", r"keep has '-', and \S+hyphen is 'space'"),
        ("training.model.d_model", 0, r"d_model is 0; .*at least 64"),
        ("precisions.int4.tiers", ["560ms", "560ms"], r"precisions\.int4\.tiers is .*repetition"),
        ("languages.it.text.numbers", "itt", r"numbers is 'itt' \(did you mean 'it'\?\)"),
        # num2words takes the first two letters: Estonian would be read out in Spanish.
        ("languages.it.text.numbers", "est", r"numbers is 'est'.*num2words does not know"),
        ("languages.it.text.words", {"due tre": "x"}, r"has 'due tre': .*one key for each word"),
        ("languages.it.text.words", {"due": "д"}, r"alphabet lacks д, so every cut with this word"),
        ("seeds", None, r"seeds is None; allowed: a list$"),
        ("languages.it.text.words", {"Due": "x"}, r"has 'Due': .*here 'due'"),
        ("corpora.human.hours", {"itt": 1, "fr": 1}, r"hours has 'itt' \(did you mean 'it'\?\)"),
        ("corpora.human.directory", "~no-such-user/x", r"no user 'no-such-user' with a home"),
        ("corpora.spoken.voices", 47, r"spoken has 47 voices and 8 new_voices; there are 54"),
        ("corpora.spoken.numbers", "xx", r"corpora\.spoken\.numbers.* is 'xx'.*num2words"),
        ("inits.ml.pretrain.bucket_bins_s", [2, 1], r"ml\.pretrain\.bucket_bins_s .*\[1, 2\]"),
        (
            "inits.ml.pretrain.schedule",
            {"name": "cosine", "warmup_steps": 2001},
            r"inits\.ml\.pretrain\.schedule\.warmup_steps is 2001, but it has 2000 steps",
        ),
        (
            "inits.ml.pretrain.schedule",
            {"name": "cosine", "warmup_steps": 1, "min_lr": 0.5},
            r"inits\.ml\.pretrain\.schedule\.min_lr is 0\.5, above",
        ),
        (
            "corpora.spoken.numbers_per_text",
            [3, 1],
            r"corpora\.spoken\.numbers_per_text is \[3, 1\]; give the lower one first",
        ),
    ],
)
def test_a_value_out_of_its_range_is_named_with_its_bound(demo, path, value, said):
    with pytest.raises(UserError, match=said):
        make(put(demo, path, value))


def test_hours_of_a_language_that_is_not_in_the_study_may_stay(demo):
    put(demo, "corpora.human.hours", {"it": 0.09, "fr": 0.08, "de": 3, "gd": 1})
    make(demo)


def test_a_region_is_spoken_as_its_language(demo):
    put(demo, "languages.it.text.numbers", "it_CH")
    make(demo)


def test_the_voices_that_there_are_are_counted():
    from warmstart.data.corpora import espeak, synthetic

    assert len(espeak._VARIANTS) == synthetic.VOICES


def test_a_whole_number_may_be_written_with_a_point(demo):
    """YAML writes 32 as 3.2e1 too; programs get an integer."""
    put(demo, "decoding.batch_size", 32.0)
    put(demo, "tokenizer.vocab_size", 64.0)
    put(demo, "training.steps.fixed", 480.0)
    put(demo, "precisions.int4.bits", 4.0)
    put(demo, "tiers.160ms.context", [70.0, 1.0])
    put(demo, "corpora.spoken.voices", 24.0)
    put(demo, "seeds", [1.0])
    put(demo, "languages.it.corpora.spoken", {"code": "it", "new_voices": 8.0})
    put(demo, "training.batch_duration_s", 16)  # any number: stays as it is written
    study = make(demo)
    config = study.config
    found = [
        config["decoding"]["batch_size"],
        slices.tokenizer(study, "it")["vocab_size"],
        slices.training(study, "en")["steps"]["fixed"],
        slices.quantization(study, "int4")["bits"],
        study.tiers["160ms"].left,
        slices.corpus(study, "spoken", "fr")["voices"],
        study.runs()[0].seed,
        slices.corpus(study, "spoken", "it")["new_voices"],
        config["training"]["batch_duration_s"],
    ]
    assert found == [32, 64, 480, 4, 70, 24, 1, 8, 16]
    assert [type(value) for value in found] == [int] * 9
    options = adaptation.of_settings({"adaptation": {"kind": "adapter", "dim": 64.0}})
    assert type(options["dim"]) is int


def test_the_largest_seed_trains():
    """numpy, torch and Python's own generator all take it."""
    import random

    import numpy as np

    np.random.seed(2**32 - 1)
    random.seed(2**32 - 1)
    with pytest.raises(ValueError, match="between 0 and"):
        np.random.seed(2**32)


def test_what_is_said_in_words_is_one_line_and_may_hold_anything_else(demo):
    put(demo, "study.title", "Which {init}?\n  For $5 and 100 % of `it` \\ \n")
    put(demo, "inits.en.name", "{lang} <b>$x$</b>")
    put(demo, "inits.en.licence", "CC {0} $$")
    config = make(demo).config
    assert config["study"]["title"] == "Which {init}? For $5 and 100 % of `it` \\"
    assert config["inits"]["en"]["name"] == "{lang} <b>$x$</b>"


def test_any_character_may_stand_in_an_example(demo):
    put(demo, "languages.it.text.examples", [["ciao\ta\n tutti", "ciao a tutti"]])
    put(demo, "languages.it.text.replace", {"\u0300": ""})
    make(demo)


def test_a_block_within_itself_is_refused(demo):
    demo["languages"]["it"]["text"]["examples"] = loop = []
    loop.append(loop)
    with pytest.raises(UserError, match=r"text\.examples\.0 is a block within itself"):
        validate(demo)


def test_a_few_anchors_that_stand_for_a_billion_values_are_refused(demo):
    value = ["x"] * 10
    for _ in range(9):
        value = [value] * 10
    demo["seeds"] = value
    with pytest.raises(UserError, match="one of very many values that anchors"):
        validate(demo)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a: 010", "line 2: study.a is 010, which YAML reads as 8, because a 0 in front"),
        ("a: 1:30", "line 2: study.a is 1:30, which YAML reads as a number to the base of 60"),
        ("a: 1\n  a: 2", "'a' stands twice at study, in lines 2 and 3"),
    ],
)
def test_what_yaml_reads_as_something_else_is_refused(tmp_path, line, said):
    file = tmp_path / "study.yaml"
    file.write_text(f"study:\n  {line}\n")
    with pytest.raises(UserError, match=said):
        read_config(str(file))


@pytest.mark.parametrize("text", ["0", "10", "0.5", "1e-4", "'010'", "1.0e-4", "0x10", "'1:30'"])
def test_other_numbers_and_texts_are_read(tmp_path, text):
    file = tmp_path / "study.yaml"
    file.write_text(f"study: {{a: {text}}}\n")
    assert set(read_config(str(file))) == {"study"}


@pytest.mark.parametrize(
    ("value", "known", "meant"),
    [
        ("owm", ["own", "fleurs"], "own"),
        ("own", ["owm"], "owm"),
        ("Train", ["train", "test"], "train"),
        ("train ", ["train", "test"], "train"),
        ("cs-CZ", ["cs_cz", "sk_sk"], "cs_cz"),
        ("ears", ["header", "decode"], None),
        ("own", ["own"], None),  # never itself
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(value, known, meant):
    assert did_you_mean(value, known) == (f" (did you mean {meant!r}?)" if meant else "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no block of keys at its top level"),
        (b"- a\n", "no block of keys at its top level"),
        (b"a: [\n", r"no YAML in UTF-8 \(.*line 2, column 1\)"),
        (b"\xe9: 1\n", "no YAML in UTF-8 .*0xe9"),
        (b"a:\n\tb: 1\n", "no YAML in UTF-8 .*line 2"),
        (b"? [1, 2]\n: 3\n", "line 1: a list or a block stands as a name at the top level"),
    ],
)
def test_what_is_no_configuration_is_one_line_with_its_file(tmp_path, content, said):
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"study\.yaml: {said}") as caught:
        read_config(str(path))
    assert "\n" not in str(caught.value)


def test_a_misspelt_test_set_is_told_as_such_and_not_as_a_headline_nobody_is_scored_on(demo):
    demo["languages"] = {"it": {**demo["languages"]["it"], "test_sets": ["same_voice"]}}
    with pytest.raises(
        UserError,
        match=r"languages\.it\.test_sets has 'same_voice' \(did you mean 'same_voices'\?\)",
    ):
        make(demo)


def test_an_alphabet_needs_a_piece_for_every_letter(demo):
    demo["tokenizer"]["vocab_size"] = 41
    # 26 letters and àèéìíîòóùú; French has 42.
    with pytest.raises(
        UserError,
        match=r"tokenizer\.vocab_size is 41, .*training set fr have 42 letters, .* to 44 or more",
    ):
        make(demo)
    demo["tokenizer"]["vocab_size"] = 44
    make(demo)
    demo["support_languages"]["en"]["text"]["alphabet"] += "".join(map(chr, range(0x4E00, 0x4E80)))
    with pytest.raises(UserError, match=r"inits\.en\.pretrain\.vocab_size is 128, .* to 156 or"):
        make(demo)


def test_what_a_release_is_asked_for_must_be_a_name_it_can_have():
    full = load_config(ROOT / "config.yaml")
    full["corpora"]["commonvoice"]["dataset_ids"] = {"sv": "x"}
    with pytest.raises(UserError, match=r"dataset_ids has 'sv' \(did you mean 'sva'\?\); locales"):
        make(full)
    full["corpora"]["commonvoice"] |= {"dataset_ids": {"sv-SE": "x"}, "release": "25.0"}
    with pytest.raises(UserError, match=r"corpora\.commonvoice\.release is '25\.0'; .*cv-corpus-"):
        make(full)
    full["corpora"]["commonvoice"].pop("release")
    make(full)
    for file in ("/etc/passwd", "../x.nemo"):
        full["inits"]["en"]["hf"]["file"] = file
        with pytest.raises(UserError, match=r"inits\.en\.hf\.file is .*inside the repository"):
            make(full)


def test_a_language_with_the_code_of_another_is_refused():
    full = load_config(ROOT / "config.yaml")
    full["languages"]["nl"]["corpora"]["fleurs"] = "de_de"
    with pytest.raises(
        UserError,
        match=r"languages\.nl\.corpora\.fleurs is 'de_de', the code of de .*mean 'nl_nl'",
    ):
        make(full)


def test_an_arm_cannot_ask_for_what_its_family_does_not_have(demo):
    demo["bundle"] = None
    ctc = {"init": "ml", "family": "fastconformer_ctc"}
    demo["arms"] = {"en": {"init": "en"}, "ml": {"init": "ml"}, "ctc": ctc}
    make(demo)
    demo["arms"]["ctc"] = {**ctc, "training": {"model": {"pred_hidden": 64}}}
    with pytest.raises(
        UserError, match=r"arms\.ctc\.training\.model has pred_hidden, which models of family"
    ):
        make(demo)


def test_a_module_that_fails_is_named_as_the_arms(demo, tmp_path, monkeypatch):
    (tmp_path / "broken_family.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)
    demo["arms"] = {"en": {"init": "en"}, "ml": {"init": "ml", "family": "broken_family:TOY"}}
    with pytest.raises(
        UserError, match=r"arms\.ml: family 'broken_family:TOY': the module .*SyntaxError"
    ):
        make(demo)
