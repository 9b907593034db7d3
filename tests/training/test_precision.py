"""Arithmetic of a training on a GPU, run on a CPU, which has bfloat16 too."""

import pytest
import torch
from made.small_speech import SETTINGS

from warmstart.models import open_family

FAMILIES = ["fastconformer_rnnt", "fastconformer_ctc"]

pytestmark = pytest.mark.slow


@pytest.fixture
def fitted(speech):
    """A small model after some steps of a batch in an arithmetic: the model and its losses."""
    import lightning.pytorch as pl

    from warmstart.training import order, precision

    def fit(family, asked, steps=30):
        settings = SETTINGS | {"precision": asked, "joint_mb": 5}
        recogniser = open_family(family).build(
            None, settings, tokenizer=speech["tokenizer"], seed=1, steps=1000
        )
        loader, _ = order.dataloader(recogniser, speech["train"], settings, seed=1)
        losses = []

        class Noted(pl.Callback):
            def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
                losses.append(float(outputs["loss"]))

        arithmetic = precision.of_trainer(settings, recogniser, on_gpu=True)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=steps,
            max_epochs=-1,
            callbacks=[Noted()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            use_distributed_sampler=False,
            log_every_n_steps=steps + 1,
            gradient_clip_val=1.0,
            **arithmetic,
        )
        recogniser.before_fit(trainer, loader)
        trainer.fit(recogniser.lightning, loader)
        return recogniser, losses, settings

    return fit


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("asked", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_learns_as_in_float32(fitted, family, asked):
    _, exact, _ = fitted(family, "32")
    recogniser, losses, _ = fitted(family, asked)
    assert losses[0] == pytest.approx(exact[0], rel=0.02)
    assert mean(losses[-5:]) < 0.9 * mean(losses[:5])
    assert mean(losses[-5:]) == pytest.approx(mean(exact[-5:]), rel=0.15)
    dtype = torch.bfloat16 if asked == "bf16-true" else torch.float32
    assert {weight.dtype for weight in recogniser.lightning.parameters()} == {dtype}


@pytest.mark.parametrize("family", FAMILIES)
def test_features_stay_float32_and_the_model_comes_back_to_it(fitted, speech, family, tmp_path):
    from warmstart.training import loop, precision

    recogniser, _, settings = fitted(family, "bf16-true", steps=2)
    fresh = open_family(family).build(
        None, settings, tokenizer=speech["tokenizer"], seed=2, steps=1000
    )
    mel, expected = (one.model.preprocessor.featurizer for one in (recogniser, fresh))
    assert mel.fb.dtype == torch.float32
    assert torch.equal(mel.fb, expected.fb)
    assert torch.equal(mel.window, expected.window)
    batch = recogniser.dataset()[next(iter(_cuts(speech)))]
    recogniser.lightning.eval()
    with torch.no_grad():
        value, texts = recogniser.evaluate(batch)
    assert len(texts) == len(batch.audio)
    precision.restore(recogniser, settings)
    assert {weight.dtype for weight in recogniser.lightning.parameters()} == {torch.float32}
    with torch.no_grad():
        assert recogniser.evaluate(batch)[0] == pytest.approx(value, rel=0.02)
    loop.save(recogniser, tmp_path / "model.nemo")
    loaded = open_family(family).load(tmp_path / "model.nemo")
    for name, part in recogniser.parts().items():
        assert all(
            torch.equal(weight, loaded.parts()[name].state_dict()[key])
            for key, weight in part.state_dict().items()
        )


def _cuts(speech):
    from warmstart.training import order

    return order.batch_sampler(speech["train"], SETTINGS, 1, 16000)
