"""The family of the guide docs/extend/family.md in a study of its own, through Snakemake: its arms
are trained, killed and resumed, decoded, scored and compared, with no line of the workflow
changed."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import Checkout
from made import guide
from made.small_speech import rows
from made.studies import smoke_config

from warmstart.run import files

pytestmark = pytest.mark.slow

MODEL = "results/runs/it/{arm}/0.02h/seed1/model.pt"


def toy_config():
    """Two arms of the family, one of them frozen at first; nothing of NeMo is loaded."""
    config = smoke_config()
    config["languages"]["it"] |= {"budgets_hours": [0.02], "test_sets": ["same_voices"]}
    config["inits"] = {"toy": {"name": "Toy", "path": "toy.pt", "licence": "Apache-2.0"}}
    family = {"init": "toy", "family": "toy:TOY", "tiers": ["offline"], "precisions": ["full"]}
    frozen = {"kind": "freeze", "encoder_layers": 0, "steps": 200}
    held = {"name": "Held for 200 steps", "adaptation": frozen}
    config["arms"] = {"toy": family, "frozen": family | held}
    config["contrasts"] = {"freezing": {"baseline": "frozen", "challenger": "toy"}}
    config["tiers"] = {"offline": config["tiers"]["offline"]}
    config["precisions"] = {"full": {}}
    config["bundle"] = None
    config["training"] |= {"steps": {"fixed": 400}, "checkpoint_every_steps": 50}
    config["training"] |= {"validate_every_steps": 400, "log_every_steps": 10}
    config["training"]["optimizer"]["lr"] = 2.0e-2
    for key in ("baseline", "challenger"):
        config["statistics"].pop(key)
    config["statistics"] |= {"headline_test_set": "same_voices", "reference_tier": "offline"}
    return config


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory):
    """The study, done but for the last arm's model; and the folder of the family, on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("toy")
    guide.write_modules("family.md", folder / "plugin")
    made = checkout.copy(folder / "warmstart")
    made.write_config(toy_config())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder / "plugin"))
        write_donor(made)
        made.snakemake("--cores", "2", MODEL.format(arm="toy"))
        yield made


def write_donor(made: Checkout) -> None:
    """Random weights of the family, as a file that its models begin from."""
    code = (
        "import sys; sys.path.insert(0, 'workflow/scripts')\n"
        "import sentencepiece, pathlib, io, toy_network\n"
        "text = iter(['uno due tre quattro cinque sei sette otto nove dieci'] * 20)\n"
        "model = io.BytesIO()\n"
        "sentencepiece.SentencePieceTrainer.train(sentence_iterator=text, model_writer=model,"
        " vocab_size=24, minloglevel=2)\n"
        "toy_network.ToyRecogniser(model.getvalue()).save(pathlib.Path('toy.pt'))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=made.folder, check=True)


def trainer_of(snakemake: int) -> int | None:
    """Process of the training program under a Snakemake, if it runs."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True)
    children: dict[int, list[tuple[int, str]]] = {}
    for line in listed.stdout.splitlines()[1:]:
        pid, parent, arguments = line.split(None, 2)
        children.setdefault(int(parent), []).append((int(pid), arguments))
    waiting = [snakemake]
    while waiting:
        for pid, arguments in children.get(waiting.pop(), []):
            if "workflow/scripts/train.py" in arguments and "snakemake" not in arguments:
                return pid
            waiting.append(pid)
    return None


def test_killed_under_snakemake_it_goes_on_to_the_same_bytes(study):
    model = study.folder / MODEL.format(arm="toy")
    undisturbed = files.digest(model)
    model.parent.rename(model.parent.with_name("undisturbed"))
    command = ["snakemake", "--cores", "1", MODEL.format(arm="toy"), "--configfile", "smoke.yaml"]
    running = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=study.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 180
    while len(rows(model.parent)) < 12 and running.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    trainer = trainer_of(running.pid)
    assert trainer is not None, "it was over before it could be killed"
    os.kill(trainer, signal.SIGKILL)
    assert running.wait(60) != 0
    assert not model.exists()
    assert list((model.parent / "checkpoints").glob("step-*.ckpt"))
    study.snakemake("--cores", "1", MODEL.format(arm="toy"))
    assert files.digest(model) == undisturbed
    record = files.read_json(model.parent / "run.json")
    assert record["family"] == "toy:TOY"
    assert len(record["starts"]) == 2


def test_the_study_ends_in_its_contrast_and_a_page(study):
    study.snakemake("--cores", "2")
    with open(study.folder / "results/tables/gap.csv", encoding="utf-8", newline="") as stream:
        gaps = list(csv.DictReader(stream))
    assert gaps
    assert {row["contrast"] for row in gaps} == {"freezing"}
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Held for 200 steps" in page
    frozen = files.read_json(study.folder / "results/runs/it/frozen/0.02h/seed1/run.json")
    assert frozen["adaptation"]["kind"] == "freeze"
    assert study.planned() == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tiers": "all"}, "streams, and family toy:TOY decodes whole utterances only"),
        (
            {"adaptation": {"kind": "adapter"}},
            "family toy:TOY cannot have the adaptation adapter, which needs adapters; allowed: "
            "full, freeze",
        ),
        ({"family": "toy:NONE"}, "family 'toy:NONE' cannot be imported"),
    ],
    ids=["tier", "adaptation", "name"],
)
def test_what_it_cannot_do_stops_the_dry_run_with_what_it_can(study, change, says):
    config = toy_config()
    config["tiers"] = smoke_config()["tiers"]
    config["arms"]["toy"] = config["arms"]["toy"] | change
    study.write_config(config, "wrong.yaml")
    refused = study.snakemake("--dry-run", config="wrong.yaml", check=False)
    assert refused.returncode != 0
    assert "arms.toy" in refused.stdout
    assert says in refused.stdout
    assert "Traceback" not in refused.stdout
