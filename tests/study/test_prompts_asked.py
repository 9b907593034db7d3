"""Prompts as a study asks for them: what the dry run refuses, and in which words."""

import copy

import pytest
from conftest import ROOT

from warmstart import adaptation
from warmstart.run.errors import UserError
from warmstart.study import checks, config
from warmstart.study.grid import Study

PROMPT = {"kind": "soft_prompt", "length": 4}
LAPT = {"kind": "lapt", "length": 4, "rank": 2}
SETS = {"it": {"languages": {"it": 1}}, "it+fr": {"languages": {"it": 1, "fr": 1}}}
REPLAYED = {"languages": {"it": 1, "fr": 1}, "replay": {"lang": "en", "fraction": 0.1}}


def asked(block, sets=("it+fr",), family="whisper", more=(), **arm):
    """The demo with an arm of a Whisper beside its own."""
    made = copy.deepcopy(config.load_config(ROOT / "demo.yaml"))
    made["inits"]["tiny"] = {"name": "Whisper", "path": "tiny"}
    made["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    made["training_sets"] = {**SETS, **dict(more)}
    made["tiers"]["offline"] = {"context": [70, 13], "offline": True}
    whisper = {"init": "tiny", "family": family, "tiers": ["offline"], "training_sets": list(sets)}
    made["arms"] = {"en": {"init": "en"}, "ml": {"init": "ml"}}
    made["arms"]["soft"] = {**whisper, "adaptation": block, "precisions": ["full"], **arm}
    config.validate(made)
    checks.check(Study(made, ROOT))


def test_prompts_and_parts_of_languages_can_be_asked_for():
    asked(PROMPT, sets=("it", "it+fr"))
    asked(LAPT)


@pytest.mark.parametrize("kind", ["soft_prompt", "lapt"])
@pytest.mark.parametrize("family", ["fastconformer_rnnt", "fastconformer_ctc", "wav2vec2_ctc"])
def test_a_family_without_prompts_says_what_it_can_have(kind, family):
    with pytest.raises(
        UserError,
        match=f"family {family} cannot have the adaptation {kind}, which needs prompts; .*lora",
    ):
        adaptation.check(kind, family)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"kind": "soft_prompt", "length": 0}, r"soft_prompt.length is 0: .*minimum"),
        ({"kind": "soft_prompt", "where": "front"}, r"soft_prompt.where is 'front'"),
        ({"kind": "soft_prompt", "rank": 2}, "no option 'rank'"),
        ({"kind": "lapt", "rank": 0}, r"lapt.rank is 0"),
        ({"kind": "lapt", "length": 4, "rank": 5}, "lapt: rank is 5, and a prompt has 4 vectors"),
        ({"kind": "lapt", "similarity": "all"}, r"lapt.similarity is 'all'"),
    ],
)
def test_options_that_cannot_be_are_refused(block, says):
    with pytest.raises(UserError, match=says):
        adaptation.of_settings({"adaptation": block})


def test_parts_of_languages_need_several_languages():
    with pytest.raises(
        UserError, match=r"arms.soft: .*'lapt' needs training sets of 2 languages .* 'it' has 1"
    ):
        asked(LAPT, sets=("it", "it+fr"))


@pytest.mark.parametrize("block", [PROMPT, LAPT], ids=lambda block: block["kind"])
def test_replay_has_nothing_to_keep(block):
    with pytest.raises(UserError, match=r"arms.soft: .*'both' replays en, .* teach nothing"):
        asked(block, sets=("both",), more={"both": REPLAYED}.items())


def test_an_export_would_lack_the_prompt():
    with pytest.raises(
        UserError, match=r"arms.soft, precision int4: .*'soft_prompt' learns stays beside"
    ):
        asked(PROMPT, precisions=["full", "int4"])
