"""Fusion of low-rank updates: the algebra by hand, what learns afterwards, and what is refused."""

import json

import pytest
import torch
from made.linear_layers import LAYERS, expert, layers

from warmstart.adaptation import open_adaptation, peft_folder
from warmstart.adaptation.experts import updates_of
from warmstart.models import gated_lora
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow  # peft is imported

RANK, ALPHA = 2, 6  # so that an update counts three times


@pytest.fixture
def folders(tmp_path):
    return {lang: expert(tmp_path / lang, seed) for seed, lang in enumerate(("it", "fr"), start=1)}


def model():
    torch.manual_seed(9)
    made = layers(*LAYERS)
    made.lightning = made.pretrained()
    return made


def fused(folders, seed=1, **options):
    """(weights before, weights after) of a fusion."""
    made = model()
    before = {name: value.clone() for name, value in made.pretrained().state_dict().items()}
    block = {"kind": "experts", "of": ["lora"], **options}
    adaptation = open_adaptation(block)
    adaptation.take_experts(folders)
    adaptation.insert(made, seed)
    adaptation.finish(made)
    after = made.pretrained().state_dict()
    assert list(after) == list(before), "a fused model has the tensors that it had"
    return before, after


def factors(folder, layer):
    """A, B of a layer."""
    tensors = peft_folder.read(folder).tensors
    return tensors[f"{layer}.lora_A.weight"], tensors[f"{layer}.lora_B.weight"]


def products(folders, layer):
    """3 B A of each expert."""
    found = {}
    for lang, folder in folders.items():
        a, b = factors(folder, layer)
        found[lang] = ALPHA / RANK * b @ a
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_cat_is_the_mean_of_the_products_exactly(folders, layer):
    before, after = fused(folders, fuse="cat")
    wanted = sum(products(folders, layer).values()) / 2
    torch.testing.assert_close(after[f"{layer}.weight"] - before[f"{layer}.weight"], wanted)


def test_weights_are_of_the_experts(folders):
    before, after = fused(folders, fuse="cat", weights={"fr": 0.25, "it": 2.0})
    of = products(folders, LAYERS[0])
    torch.testing.assert_close(
        after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"], 2 * of["it"] + 0.25 * of["fr"]
    )


def test_linear_is_not_the_mean_of_the_products(folders):
    """(sum sqrt(w s) B)(sum sqrt(w s) A) has the products of one's B and another's A."""
    before, after = fused(folders, fuse="linear")
    moved = after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"]
    (a1, b1), (a2, b2) = (factors(folder, LAYERS[0]) for folder in folders.values())
    root = (ALPHA / RANK / 2) ** 0.5
    torch.testing.assert_close(moved, (root * b1 + root * b2) @ (root * a1 + root * a2))
    mean = sum(products(folders, LAYERS[0]).values()) / 2
    assert (moved - mean).abs().max() > 0.1


def test_svd_is_the_nearest_update_of_its_rank(folders):
    before, after = fused(folders, fuse="svd", rank=1)
    moved = after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"]
    left, values, right = torch.linalg.svd(sum(products(folders, LAYERS[0]).values()) / 2)
    wanted = values[0] * left[:, :1] @ right[:1]
    torch.testing.assert_close(moved, wanted)
    # Of the sum of the ranks it is the mean itself; without a rank it has the experts' own.
    before, after = fused(folders, fuse="svd", rank=2 * RANK)
    moved = after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"]
    torch.testing.assert_close(moved, sum(products(folders, LAYERS[0]).values()) / 2)
    before, after = fused(folders, fuse="svd")
    moved = after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"]
    assert int(torch.linalg.matrix_rank(moved, rtol=1e-4)) == RANK


def ties_by_hand(tensors, density):
    """Yadav et al., section 4: the largest values of each, the sign with more weight, the mean of
    those that have it."""
    trimmed = []
    for tensor in tensors:
        kept = int(density * tensor.numel())
        smallest = tensor.abs().flatten().sort().values[-kept]
        trimmed.append(torch.where(tensor.abs() >= smallest, tensor, 0))
    total = sum(trimmed)
    out = torch.zeros_like(total)
    for place in range(total.numel()):
        values = [one.flatten()[place].item() for one in trimmed]
        sign = 1 if total.flatten()[place] >= 0 else -1
        same = [value for value in values if value * sign > 0]
        out.view(-1)[place] = sum(same) / len(same) if same else 0
    return out


def test_ties_takes_the_largest_values_of_the_stronger_sign(folders):
    before, after = fused(folders, fuse="ties", density=0.5)
    moved = after[f"{LAYERS[0]}.weight"] - before[f"{LAYERS[0]}.weight"]
    (a1, b1), (a2, b2) = (factors(folder, LAYERS[0]) for folder in folders.values())
    root = (ALPHA / RANK) ** 0.5
    wanted = root * ties_by_hand([b1, b2], 0.5) @ (root * ties_by_hand([a1, a2], 0.5))
    torch.testing.assert_close(moved, wanted)


def test_dare_draws_from_the_seed_alone(folders):
    torch.manual_seed(77)
    _, one = fused(folders, fuse="dare", density=0.5)
    torch.manual_seed(78)
    before, same = fused(folders, fuse="dare", density=0.5)
    _, other = fused(folders, seed=2, fuse="dare", density=0.5)
    name = f"{LAYERS[0]}.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    # Nearly nothing is left out: the linear fusion, but for what is scaled up.
    _, most = fused(folders, fuse="dare", density=0.999999)
    _, linear = fused(folders, fuse="linear")
    torch.testing.assert_close(most[name], linear[name], rtol=1e-4, atol=1e-4)
    assert (one[name] - before[name]).abs().max() > 0


def test_only_the_fusion_learns_and_only_where_it_is_tuned(folders):
    for steps in (0, 3):
        made = model()
        adaptation = open_adaptation(
            {"kind": "experts", "of": ["lora"], "fuse": "cat", "tune_steps": steps}
        )
        adaptation.take_experts(folders)
        adaptation.insert(made, 1)
        learns = {
            name for name, value in made.pretrained().named_parameters() if value.requires_grad
        }
        there = {name for name, _ in made.pretrained().named_parameters() if "lora_" in name}
        assert len(there) == 4, "A and B of two layers; the experts themselves are gone"
        assert learns == (there if steps else set())
        ranks = {
            value.shape for name, value in made.pretrained().named_parameters() if "lora_A" in name
        }
        assert ranks == {(2 * RANK, 8)}


# ---- experts that stay apart


def test_an_utterance_with_one_weight_is_heard_as_by_its_merged_expert(folders):
    heard = torch.randn(3, 5, 8)
    merged = {}
    for lang, folder in folders.items():
        one = model()
        peft_folder.put_into(one.pretrained(), peft_folder.read(folder), "x").merge_and_unload()
        merged[lang] = one.pretrained().get_submodule(LAYERS[1])
    made = model()
    plain = made.pretrained().get_submodule(LAYERS[1])(heard)
    experts = {lang: updates_of(peft_folder.read(folder)) for lang, folder in folders.items()}
    gates = gated_lora.install(made.pretrained(), experts)
    layer = made.pretrained().get_submodule(LAYERS[1])
    assert torch.equal(layer(heard), plain), "without weights the donor alone"
    with gates.weighted(gates.one_hot(["fr", "it", "fr"])):
        mixed = layer(heard)
    for place, lang in enumerate(("fr", "it", "fr")):
        torch.testing.assert_close(mixed[place], merged[lang](heard[place]))
    assert torch.equal(layer(heard), plain)
    # Weighted products, as `cat` with these weights.
    with gates.weighted(torch.tensor([[0.25, 0.75]]).repeat(3, 1)):
        half = layer(heard)
    _, after = fused(folders, fuse="cat", weights={"it": 0.25, "fr": 0.75})
    wanted = heard @ after[f"{LAYERS[1]}.weight"].T + after[f"{LAYERS[1]}.bias"]
    torch.testing.assert_close(half, wanted)
    with pytest.raises(UserError, match="an utterance is of ru, and there are experts of it, fr"):
        gates.one_hot(["it", "ru"])
    with (
        pytest.raises(RuntimeError, match="3 utterances, and weights of 2"),
        gates.weighted(gates.one_hot(["it", "fr"])),
    ):
        layer(heard)


def test_experts_of_other_ranks_stay_apart_and_come_back_from_a_file(tmp_path):
    folders = {"it": expert(tmp_path / "it", 1), "fr": expert(tmp_path / "fr", 2, rank=3)}
    made = model()
    adaptation = open_adaptation({"kind": "experts", "of": ["lora"], "fuse": "lid"})
    adaptation.take_experts(folders)
    names = list(made.pretrained().state_dict())
    adaptation.insert(made, 1)
    adaptation.finish(made)
    assert list(made.pretrained().state_dict()) == names
    assert not any(value.requires_grad for value in made.pretrained().parameters())
    about = json.loads(json.dumps(made.gates.about()))
    assert about == {"experts": ["it", "fr"], "ranks": [2, 3]}
    tensors = made.gates.tensors()
    assert all(gated_lora.is_expert(name) for name in tensors)
    other = model()
    gates = gated_lora.from_saved(other.pretrained(), tensors, about)
    heard, weights = torch.randn(2, 4, 8), torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    layer = LAYERS[0]
    with made.gates.weighted(weights), gates.weighted(weights):
        one, two = (each.pretrained().get_submodule(layer)(heard) for each in (made, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, other.pretrained().get_submodule(layer)(heard))
    del tensors[f"experts.{layer}.up"]
    with pytest.raises(UserError, match=r"do not fit each other; the model's file is damaged"):
        gated_lora.from_saved(model().pretrained(), tensors, about)


# ---- refused


def test_experts_of_other_ranks_are_refused_where_the_fusion_needs_one(tmp_path):
    folders = {"it": expert(tmp_path / "it", 1), "fr": expert(tmp_path / "fr", 2, rank=3)}
    for fuse in ("linear", "ties", "dare"):
        with pytest.raises(UserError, match=rf"fuse is {fuse}, which needs one.* 2 and 3"):
            fused(folders, fuse=fuse)
    for fuse in ("cat", "svd"):
        fused(folders, fuse=fuse)


@pytest.mark.parametrize("fuse", ["cat", "lid"])
def test_experts_of_other_layers_or_of_another_donor_are_refused(tmp_path, fuse):
    folders = {
        "it": expert(tmp_path / "it", 1),
        "fr": expert(tmp_path / "fr", 2, glob="layers.0.*"),
    }
    with pytest.raises(UserError, match=r"it and fr have updates of other layers \(layers.1.q"):
        fused(folders, fuse=fuse)
    other = {lang: expert(tmp_path / f"wide_{lang}", 1, width=6) for lang in ("it", "fr")}
    with pytest.raises(UserError, match=r"12 x 6 for layer .*16 x 8.*trained from another donor"):
        fused(other, fuse=fuse)


def test_a_rank_above_the_width_is_refused(folders):
    with pytest.raises(UserError, match=r"experts.rank is 9, above the width 8"):
        fused(folders, fuse="svd", rank=9)
