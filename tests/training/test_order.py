"""Batches and tensors are those of NeMo's own Lhotse loader, which training does not need."""

import pytest
import torch
from made.small_speech import SETTINGS, listener

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("bins", [[], [1.2, 2.0]], ids=["one bucket", "three buckets"])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_batches_are_those_of_nemos_loader(speech, bins, rate):
    from nemo.collections.asr.data.audio_to_text_lhotse import LhotseSpeechToTextBpeDataset
    from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config
    from nemo.collections.common.tokenizers import SentencePieceTokenizer

    from warmstart.training import order

    config = {
        "use_lhotse": True,
        "cuts_path": str(speech["train"]),
        "batch_duration": SETTINGS["batch_duration_s"],
        "use_bucketing": bool(bins),
        "bucket_duration_bins": bins or None,
        "num_buckets": len(bins) + 1,
        "concurrent_bucketing": False,
        "shuffle": True,
        "drop_last": False,
        "seed": 3,
        "shard_seed": 3,
        "sample_rate": rate,
        "force_map_dataset": True,
    }
    tokenizer = SentencePieceTokenizer(model_path=str(speech["tokenizer"] / "tokenizer.model"))
    theirs = get_lhotse_dataloader_from_config(
        config, global_rank=0, world_size=1, dataset=LhotseSpeechToTextBpeDataset(tokenizer)
    )
    ours = order.batch_sampler(speech["train"], SETTINGS | {"bucket_bins_s": bins}, 3, rate)
    dataset, compared = listener(speech).dataset(), 0
    for epoch in range(3):
        theirs.sampler.set_epoch(epoch)
        ours.set_epoch(epoch)
        for own, other in zip(ours, theirs.sampler, strict=True):
            assert [cut.id for cut in own] == [cut.id for cut in other]
            assert {cut.sampling_rate for cut in own} == {rate}
            for tensor, reference in zip(dataset[own], theirs.dataset[other], strict=True):
                assert tensor.dtype == reference.dtype
                assert torch.equal(tensor, reference)
            compared += 1
    assert compared > 15


def test_what_a_step_waits_for_its_batch_is_counted(speech, monkeypatch):
    import time

    from warmstart.models.batches import SpeechDataset
    from warmstart.training import order

    hear = SpeechDataset.hear
    monkeypatch.setattr(
        SpeechDataset, "hear", lambda self, cuts: (time.sleep(0.2), hear(self, cuts))[1]
    )
    loader, sampler = order.dataloader(listener(speech), speech["train"], SETTINGS, seed=1)
    batches = iter(loader)
    assert sampler.waited_s == 0
    for _ in range(3):
        next(batches)
    assert sampler.waited_s >= 0.6
