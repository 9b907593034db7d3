"""What there is to adapt with, what the old keys mean, and what a family cannot have: asked by the
dry run."""

import jsonschema
import pytest

from warmstart import adaptation, models
from warmstart.run.errors import UserError

FREEZE = {"encoder_layers": 1, "steps": 4}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"kind": "full"}),
        ({"adaptation": None, "freeze": None}, {"kind": "full"}),
        ({"adaptation": "full"}, {"kind": "full"}),
        ({"freeze": FREEZE}, {"kind": "freeze", **FREEZE}),
        ({"adaptation": "full", "freeze": FREEZE}, {"kind": "freeze", **FREEZE}),
        ({"adaptation": {"kind": "freeze", **FREEZE}}, {"kind": "freeze", **FREEZE}),
        # Only what was not there before is said: blocks, digests and records stay what they were.
        (
            {"freeze": FREEZE | {"feature_encoder": "steps"}},
            {"kind": "freeze", **FREEZE},
        ),
        (
            {"freeze": FREEZE | {"feature_encoder": "never"}},
            {"kind": "freeze", **FREEZE, "feature_encoder": "never"},
        ),
        (
            {"freeze": {"encoder_layers": 0, "feature_encoder": "always"}},
            {"kind": "freeze", "encoder_layers": 0, "steps": None, "feature_encoder": "always"},
        ),
        ({"adaptation": "head_only"}, {"kind": "head_only"}),
        ({"adaptation": "adapter"}, {"kind": "adapter", "dim": 64}),
        ({"adaptation": "adapter", "adapter_dim": 128}, {"kind": "adapter", "dim": 128}),
        ({"adaptation": {"kind": "adapter"}}, {"kind": "adapter", "dim": 64}),
        ({"adaptation": {"kind": "adapter", "dim": 192}}, {"kind": "adapter", "dim": 192}),
        # Without the adaptation the width means nothing, as before.
    ],
)
def test_old_and_new_keys_mean_one_block(settings, expected):
    assert adaptation.of_settings(settings) == expected
    assert adaptation.of_settings({"adaptation": expected}) == expected
    assert adaptation.of_settings(settings | {"adaptation": expected}) == expected
    kind = adaptation.kind_of(expected["kind"])
    jsonschema.validate(expected, kind.schema(expected["kind"]))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"adaptation": "adaptor"}, r"'adaptor' is unknown \(did you mean 'adapter'\?"),
        ({"adaptation": "dora"}, "'dora' is unknown.*; allowed: full, freeze, adapter, head_only"),
        ({"adaptation": {"dim": 64}}, "has no kind; give one of full, freeze, adapter, head_only"),
        ({"adaptation": {"kind": "adapter", "dimm": 1}}, "no option 'dimm' \\(did you mean 'dim'"),
        ({"adaptation": {"kind": "full", "dim": 64}}, "adaptation full has no option 'dim'.* none"),
        ({"adaptation": {"kind": "freeze", "steps": 1}}, "freeze lacks encoder_layers"),
        (
            {"adaptation": {"kind": "freeze", "encoder_layers": 0}},
            "freeze: lacks steps, the first step that trains the feature encoder; give it",
        ),
        (
            {"freeze": {"encoder_layers": 2, "feature_encoder": "never"}},
            "freeze: lacks steps, the first step that trains 2 layers; give it",
        ),
        (
            {"freeze": {"encoder_layers": 0, "feature_encoder": "never", "steps": 3}},
            "feature_encoder is never and encoder_layers 0, so nothing is held; give layers, or",
        ),
        (
            {"freeze": {"encoder_layers": 0, "feature_encoder": "always", "steps": 3}},
            "steps is 3, and nothing waits for it: feature_encoder is always, .*; remove steps",
        ),
        (
            {"freeze": {"encoder_layers": 0, "feature_encoder": "alwayz"}},
            r"freeze\.feature_encoder is 'alwayz': .*one of .*; When what is in front",
        ),
        ({"adaptation": {"kind": "head_only", "dim": 1}}, "head_only has no option 'dim'"),
        (
            {"adaptation": "head_only", "freeze": FREEZE},
            r"head_only, which freezes the whole encoder for good; remove training\.freeze",
        ),
        ({"adapter_dim": 128}, r"adapter_dim is 128, .* full; write adaptation: \{kind: adapter"),
        ({"adaptation": "adapter", "adapter_dim": 65}, r"adapter\.dim is 65: .*multiple of 64"),
        (
            {"adaptation": {"kind": "freeze", "encoder_layers": -1, "steps": 2}},
            r"freeze\.encoder_layers is -1: .*; How many layers",
        ),
        (
            {"adaptation": "adapter", "freeze": FREEZE},
            r"adapter, which freezes the whole encoder for good; remove training\.freeze",
        ),
        (
            {"adaptation": {"kind": "freeze", **FREEZE}, "freeze": FREEZE | {"steps": 5}},
            r"training\.freeze is another adaptation; remove one",
        ),
    ],
)
def test_faults_are_named_with_a_remedy(settings, says):
    with pytest.raises(UserError, match=says):
        adaptation.of_settings(settings)


def test_a_block_is_a_schema_fragment():
    validator = jsonschema.Draft202012Validator
    for name, kind in adaptation.KINDS.items():
        validator.check_schema(kind.schema(name))
        assert all(option["description"] for option in kind.options.values())
    schema = adaptation.KINDS["adapter"].schema("adapter")
    assert validator(schema).is_valid({"kind": "adapter"})
    for wrong in ({"kind": "full"}, {"kind": "adapter", "dim": 65}, {"kind": "adapter", "d": 1}):
        assert not validator(schema).is_valid(wrong)


def test_a_family_has_what_it_offers(monkeypatch):
    have = {
        "fastconformer_rnnt": ["full", "freeze", "adapter", "head_only", "lora"],
        "fastconformer_ctc": ["full", "freeze", "adapter", "head_only", "lora"],
        "wav2vec2_ctc": ["full", "freeze", "head_only", "lora"],
        "whisper": ["full", "freeze", "head_only", "lora", "soft_prompt", "lapt", "experts"],
    }
    assert set(have) == set(models.KINDS)
    for family, kinds in have.items():
        assert adaptation.possible(family) == kinds
        for kind in kinds:
            adaptation.check(kind, family)
    blank = models.Kind(target="nowhere:Nothing", about="offers nothing")
    monkeypatch.setitem(models.KINDS, "blank", blank)
    adaptation.check("full", "blank")
    with pytest.raises(
        UserError,
        match=r"family blank cannot have .* freeze, which needs blocks; allowed: full, head_only$",
    ):
        adaptation.check("freeze", "blank")
