"""A spoken corpus of a minute, its tokenizer and donors of a few thousand weights, made on the spot
for the training tests."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from warmstart.data import cut_lines, tokenizer
from warmstart.data.corpora import open_corpus
from warmstart.study.stages import filled

CONTEXTS = {
    "contexts": [[70, 13], [70, 6], [70, 1], [70, 0]],
    "context_probs": [0.25, 0.25, 0.25, 0.25],
}
MODEL = {
    **CONTEXTS,
    **{
        "n_layers": 1,
        "d_model": 64,
        "n_heads": 4,
        "conv_kernel_size": 9,
        "subsampling_channels": 16,
        "features": 40,
    },
    **{"pred_hidden": 32, "joint_hidden": 32},
}
SETTINGS = filled(
    "train",
    {
        "model": MODEL,
        "optimizer": {"name": "adamw", "lr": 1e-3, "encoder_lr_scale": 0.25},
        "schedule": {"name": "cosine", "warmup_steps": 2},
        "steps": {"fixed": 12},
        "batch_duration_s": 8,
        "bucket_bins_s": [1.5],
        "checkpoint_every_steps": 4,
        "validate_every_steps": 100,
        "log_every_steps": 2,
    },
)
MODEL = SETTINGS["model"]
CORPUS = {
    "hours": {"train": 0.012, "dev": 0.003},
    "utterances": {"same_voices": 1, "new_voices": 1},
    "voices": 3,
    "new_voices": 1,
}


def manifest(directory: Path, split: str, path: Path, lang: str = "it") -> Path:
    """A Lhotse manifest of one split of a synthesized corpus."""
    with (
        open(directory / f"metadata-{split}.tsv", encoding="utf-8", newline="") as stream,
        cut_lines.writing(path) as output,
    ):
        for row in csv.DictReader(stream, delimiter="\t"):
            named = "" if lang == "it" else f"{lang}-"
            cut_id, length = (
                f"{named}{split}-{Path(row['path']).stem}",
                round(float(row["seconds"]) * 16000),
            )
            duration = {"start": 0, "duration": length / 16000, "channel": 0}
            source = {"type": "file", "channels": [0], "source": str(directory / row["path"])}
            supervision = {
                "id": cut_id,
                "recording_id": cut_id,
                "text": row["text"],
                "language": lang,
                "speaker": row["speaker"],
            }
            recording = {
                "sampling_rate": 16000,
                "num_samples": length,
                "duration": length / 16000,
                "channel_ids": [0],
            }
            output.write(
                cut_lines.line(
                    {
                        "id": cut_id,
                        "type": "MonoCut",
                        **duration,
                        "supervisions": [supervision | duration],
                        "recording": {"id": cut_id, "sources": [source], **recording},
                        "custom": {"block": row["speaker"], "corpus": "spoken"},
                    }
                )
            )
    return path


def corpus(directory: Path, lang: str = "it") -> dict[str, Path]:
    """Paths of train and dev manifests and of a tokenizer."""
    open_corpus("spoken", lang, {"kind": "synthetic", **CORPUS}).fetch(directory / lang)
    made = {
        split: manifest(directory / lang, split, directory / f"{split}.jsonl.gz", lang)
        for split in ("train", "dev")
    }
    tokenizer.train(tokenizer.supervision_texts(made["train"]), directory / "tokenizer", 48)
    return made | {"tokenizer": directory / "tokenizer"}


def donor(path: Path, tokenizer_dir: Path, seed: int, **encoder: object) -> Path:
    """A `.nemo` with a random encoder, as pretraining would leave it."""
    import torch
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    from warmstart.models.fastconformer import build

    config = build.fresh_encoder(MODEL)
    config["encoder"] |= encoder
    config |= {
        "tokenizer": {"dir": str(tokenizer_dir), "type": "bpe"},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": MODEL["d_model"],
            "num_classes": -1,
            "vocabulary": [],
        },
    }
    torch.manual_seed(seed)
    EncDecCTCModelBPE(cfg=OmegaConf.create(config)).save_to(str(path))
    return path


def two_donors(directory: Path, tokenizer_dir: Path, **encoder: object) -> dict[str, Path]:
    """A pair of inits: encoders of one kind with different weights."""
    return {
        name: donor(directory / f"{name}.nemo", tokenizer_dir, seed, **encoder)
        for name, seed in (("en", 1), ("ml", 2))
    }


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The corpus, made once a session; tests only read it."""
    return corpus(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def donors(tmp_path_factory: pytest.TempPathFactory, speech: dict[str, Path]) -> dict[str, Path]:
    """Two donors with one layer each."""
    return two_donors(tmp_path_factory.mktemp("donors"), speech["tokenizer"])


def listener(speech: dict[str, Path]) -> SimpleNamespace:
    """What the order of data asks of a model: its sample rate, and tensors of cuts."""
    import sentencepiece

    from warmstart.models.batches import SpeechDataset

    pieces = sentencepiece.SentencePieceProcessor(
        model_file=str(speech["tokenizer"] / "tokenizer.model")
    )
    return SimpleNamespace(sample_rate=16000, dataset=lambda: SpeechDataset(pieces.encode))


def rows(run_dir: Path) -> list[dict[str, str]]:
    """train.csv of a run; empty where there is none yet."""
    if not (run_dir / "train.csv").exists():
        return []
    with open(run_dir / "train.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
