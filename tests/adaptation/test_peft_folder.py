"""Updates by themselves: what a folder holds, who reads it, and which folders are refused."""

import json
import shutil

import pytest
import torch
from made.linear_layers import insert, layers

from warmstart.adaptation import peft_folder
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow  # peft is imported

NAMES = ("a.0.linear", "a.1.linear", "b")
A, B = "adapter_config.json", "adapter_model.safetensors"


def whole():
    """A module of 8 x 16 layers that is the same each time."""
    torch.manual_seed(7)
    return layers(*NAMES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of updates of rank 2 and alpha 6 that are not zero; and the weights that a merge
    of them gives."""
    folder, model = tmp_path_factory.mktemp("lora"), whole()
    made = insert(model, rank=2, alpha=6, layers="*linear")
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.pretrained().named_parameters():
            if "lora_B" in name:
                value.copy_(torch.randn(value.shape, generator=draw))
    made.write(model, folder)
    made.finish(model)
    return folder / "adapter", model.pretrained().state_dict()


def test_the_folder_has_two_files_and_the_same_bytes_each_time(saved, tmp_path):
    folder, _ = saved
    assert sorted(path.name for path in folder.iterdir()) == [A, B]
    for name in ("one", "two"):
        insert(model := whole(), rank=2, layers="*linear").write(model, tmp_path / name)
    for name in (A, B):
        one, two = ((tmp_path / run / "adapter" / name).read_bytes() for run in ("one", "two"))
        assert one == two
        assert str(tmp_path).encode() not in one


def test_peft_itself_loads_it_over_the_donor(saved):
    import peft

    folder, merged = saved
    model = whole().pretrained()
    loaded = peft.PeftModel.from_pretrained(model, folder).merge_and_unload().state_dict()
    assert set(loaded) == set(merged)
    for name, value in merged.items():
        torch.testing.assert_close(loaded[name], value)


def test_what_is_read_is_put_in_again_and_computes_the_merged_model(saved):
    folder, merged = saved
    found = peft_folder.read(folder)
    assert (found.rank, found.layers) == (2, ["a.0.linear", "a.1.linear"])
    assert found.tensors["a.1.linear.lora_A.weight"].shape == (2, 8)
    assert found.tensors["a.1.linear.lora_B.weight"].shape == (16, 2)
    for trainable in (False, True):
        module, heard = whole().pretrained(), torch.randn(3, 8)
        tuner = peft_folder.put_into(module, found, "fr", trainable=trainable)
        learning = [name for name, value in module.named_parameters() if value.requires_grad]
        assert len(learning) == (4 if trainable else 0)
        said = module.get_submodule("a.1.linear")(heard)
        weight, bias = merged["a.1.linear.weight"], merged["a.1.linear.bias"]
        torch.testing.assert_close(said, torch.nn.functional.linear(heard, weight, bias))
        tuner.merge_and_unload()
        for name, value in module.state_dict().items():
            torch.testing.assert_close(value, merged[name])


def test_a_folder_that_is_not_whole_is_refused_with_what_is_wrong(saved, tmp_path):
    folder, _ = saved

    def broken(name, change):
        own = tmp_path / name
        shutil.copytree(folder, own)
        change(own)
        with pytest.raises(UserError) as caught:
            peft_folder.read(own)
        return str(caught.value)

    def settings(**changed):
        def change(own):
            text = json.loads((own / A).read_text()) | changed
            (own / A).write_text(json.dumps(text))

        return change

    def cut(own):
        (own / B).write_bytes((own / B).read_bytes()[:-8])

    assert "no adapter_model.safetensors in it" in broken("none", lambda own: (own / B).unlink())
    assert "damaged" in broken("cut", cut)
    assert "no settings of a LoRA" in broken("kind", settings(peft_type="IA3"))
    assert "no settings of a LoRA" in broken("zero", settings(r=0))
    assert "has rank 2 and 2, and adapter_config.json says r 4" in broken("rank", settings(r=4))


def test_updates_of_another_donor_are_refused_with_the_layer(saved):
    found = peft_folder.read(saved[0])
    with pytest.raises(UserError, match=r"layer a.1.linear, which is no linear layer .* donor"):
        peft_folder.put_into(layers("a.0.linear").pretrained(), found, "it")
    with pytest.raises(UserError, match=r"16 x 8 for layer a.0.linear, which is 8 x 4 in this"):
        peft_folder.put_into(layers(*NAMES, width=4).pretrained(), found, "it")


def test_layers_that_share_their_weight_get_no_update():
    """As the output of a Whisper, which is the table of its tokens: a merge would change both."""
    model = layers("a.linear", "out")
    module = model.pretrained()
    module.table = torch.nn.Embedding(16, 8)
    module.out.weight = module.table.weight
    insert(model, rank=2)
    assert {name.split(".lora_")[0] for name in module.state_dict() if "lora" in name} == {
        "a.linear"
    }
