"""Small trainings whose audio a test may take away, as real programs."""

import json
import shutil
from pathlib import Path

import pytest

from made.programs import Program
from made.small_speech import SETTINGS
from warmstart.data import cut_lines


@pytest.fixture
def own(speech, tmp_path):
    """The corpus with audio that a test may take away: manifests, and files by cut."""
    made = dict(speech)
    for split in ("train", "dev"):
        made[split] = tmp_path / "data" / f"{split}.jsonl.gz"
        made[split].parent.mkdir(exist_ok=True)
        with cut_lines.writing(made[split]) as stream:
            for cut in cut_lines.read(speech[split]):
                source = cut["recording"]["sources"][0]
                copy = tmp_path / "data" / f"{cut['id']}{Path(source['source']).suffix}"
                shutil.copyfile(source["source"], copy)
                source["source"] = str(copy)
                stream.write(cut_lines.line(cut))
    return made


def audio_of(manifest: Path) -> dict[str, tuple[Path, float]]:
    """Cut -> its file, its seconds."""
    return {
        cut["id"]: (Path(cut["recording"]["sources"][0]["source"]), cut["duration"])
        for cut in cut_lines.read(manifest)
    }


def train(speech, init, run_dir, settings=None, **how):
    said = run_dir / f"said-{len(list(run_dir.glob('said-*')))}.txt"
    arguments = [
        *("--train-cuts", str(speech["train"]), "--dev-cuts", f"it={speech['dev']}"),
        *("--tokenizer", str(speech["tokenizer"]), "--init", str(init)),
        *("--run", "it/en/0.012h/seed1", "--settings", json.dumps(SETTINGS | (settings or {}))),
        *("--run-dir", str(run_dir), "--output", str(run_dir / "model.nemo")),
        *("--log", str(run_dir / "log.txt")),
    ]
    program = Program("train", arguments, said, **how)
    return program.wait(), program.said
