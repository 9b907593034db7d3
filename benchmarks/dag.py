"""Cost of `snakemake -n`: this workflow against a bare Snakefile of the same shape, in one run.

The bare one has the same files, the same rules and as many jobs, and nothing else: no schema, no
parameters, no logs, only the functions that list a language's inputs. What is above 1.0 is what
this workflow costs on top of Snakemake. More seeds make more jobs.

    python benchmarks/dag.py [JOBS ...]        default 500 2000 20000
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from warmstart.study import bundles, paths  # noqa: E402
from warmstart.study.config import load_config, validate  # noqa: E402
from warmstart.study.grid import Run, Study  # noqa: E402

LIMIT = 1.25
DEFAULT_JOBS = (500, 2000, 20000)
REPEATS = 3

BARE = """
import json
plan = json.load(open("plan.json"))

rule all:
    input: "report.html", plan["bundles"]
rule report:
    input: "tables.csv", plan["curves"], plan["runs"]
    output: "report.html"
    shell: "touch {output}"
rule aggregate:
    input: plan["scores"], plan["headers"], plan["quantized"]
    output: "tables.csv"
    shell: "touch {output}"
rule score:
    input:
        lambda w: plan["hypotheses"][w.lang],
        lambda w: plan["header_lists"][w.lang],
        "results/pools/{lang}.jsonl.gz",
    output: "results/scores/{lang}.parquet"
    shell: "touch {output}"
rule bundle:
    input: "results/runs/{lang}/{init}/{hours}h/{seed}/model.nemo"
    output: "results/bundles/{lang}/{init}/{hours}h/{seed}/{precision}/{tier}/bundle.json"
    shell: "touch {output}"
rule describe_bundle:
    input:
        "results/bundles/{lang}/{init}/{hours}h/{seed}/{precision}/{tier}/bundle.json",
        lambda w: plan["described"][
            f"results/bundles/{w.lang}/{w.init}/{w.hours}h/{w.seed}/{w.precision}/{w.tier}/README.md"
        ],
        lambda w: plan["tests"][w.lang],
    output: "results/bundles/{lang}/{init}/{hours}h/{seed}/{precision}/{tier}/README.md"
    shell: "touch {output}"
for LANG, SETS in plan["test_sets"].items():
    rule:
        name: f"decode_{LANG}"
        input:
            f"results/runs/{LANG}/{{init}}/{{hours}}h/{{seed}}/model.nemo",
            lambda w, lang=LANG: [] if w.precision == "full" else
                f"results/runs/{lang}/{w.init}/{w.hours}h/{w.seed}/{w.precision}/{w.tier}/encoder.onnx",
            plan["tests"][LANG],
        output:
            [f"results/hypotheses/{LANG}/{{init}}/{{hours}}h/{{seed}}/{{precision}}/{{tier}}/{name}.{ending}"
             for name in SETS for ending in ("jsonl", "json")]
        shell: "touch {output}"
rule quantize:
    input: "results/runs/{lang}/{init}/{hours}h/{seed}/model.nemo"
    output:
        "results/runs/{lang}/{init}/{hours}h/{seed}/{precision}/{tier}/encoder.onnx",
        "results/runs/{lang}/{init}/{hours}h/{seed}/{precision}/{tier}/quantize.json",
    shell: "touch {output}"
rule train:
    input:
        "results/budgets/{lang}/{hours}h.jsonl.gz",
        "results/tokenizers/{lang}/tokenizer.model",
        "resources/inits/{init}.nemo",
    output:
        "results/runs/{lang}/{init}/{hours}h/{seed}/model.nemo",
        "results/runs/{lang}/{init}/{hours}h/{seed}/train.csv",
        "results/runs/{lang}/{init}/{hours}h/{seed}/run.json",
    shell: "touch {output}"
rule init:
    output: "resources/inits/{init}.nemo"
    shell: "touch {output}"
rule tokenizer:
    input: "results/pools/{lang}.jsonl.gz"
    output: "results/tokenizers/{lang}/tokenizer.model"
    shell: "touch {output}"
rule budget:
    input: "results/pools/{lang}.jsonl.gz"
    output: "results/budgets/{lang}/{hours}h.jsonl.gz"
    shell: "touch {output}"
rule pool:
    input: lambda w: plan["manifests"][w.lang]
    output: "results/pools/{lang}.jsonl.gz"
    shell: "touch {output}"
rule manifest:
    input: "resources/corpora/{corpus}/{lang}/complete.json"
    output: "results/manifests/{corpus}/{lang}/{split}.jsonl.gz"
    shell: "touch {output}"
rule download:
    output: "resources/corpora/{corpus}/{lang}/complete.json"
    shell: "touch {output}"
"""


def with_seeds(config: dict, seeds: int) -> dict:
    """The full study with this many seeds."""
    config = json.loads(json.dumps(config))
    config["seeds"] = list(range(1, seeds + 1))
    return config


def shape(config: dict) -> tuple[dict, int]:
    """File lists of the bare Snakefile, and the number of jobs that the seeds multiply."""
    made = json.loads(json.dumps(config))
    validate(made)
    study = Study(made, ROOT)

    def bare(path: str) -> str:
        return path.replace("/seed", "/")

    hypotheses = {
        lang: [bare(path) for path in paths.hypotheses(study, lang)] for lang in study.languages
    }
    headers = {lang: [paths.header(path) for path in found] for lang, found in hypotheses.items()}
    described = {}
    for page in bundles.wanted(study):
        precision, tier = Path(page).parts[-3:-1]
        found = bundles.hypotheses(study, Run.of_path(page), precision, tier)
        described[bare(page)] = [
            bare(name) for path in found for name in (path, paths.header(path))
        ]
    tests = {lang: paths.test_manifests(study, lang) for lang in study.languages}
    plan = {
        "test_sets": {lang: list(found) for lang, found in tests.items()},
        "tests": {lang: list(found.values()) for lang, found in tests.items()},
        "manifests": {lang: paths.manifests(study, lang) for lang in study.languages},
        "hypotheses": hypotheses,
        "header_lists": headers,
        "headers": [path for found in headers.values() for path in found],
        "scores": [f"results/scores/{lang}.parquet" for lang in study.languages],
        "quantized": [bare(path) for path in paths.quantize_reports(study)],
        "curves": [bare(f"results/runs/{run.path}/train.csv") for run in study.runs()],
        "runs": [bare(f"results/runs/{run.path}/run.json") for run in study.runs()],
        "bundles": list(described),
        "described": described,
    }
    jobs = len(study.runs()) * 2 + sum(1 for run in study.runs() for _ in study.precisions(run))
    return plan, jobs


def dry_run(folder: Path, *arguments: str) -> tuple[float, float, int]:
    """CPU time (s), peak memory (MB) and number of jobs of a dry run.

    The least of several runs: other work on the machine only ever adds to it.
    """
    seconds = []
    for _ in range(REPEATS):
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(usage.ru_utime + usage.ru_stime)
        if status:
            raise SystemExit(output[-4000:])
    total = next(line.split()[1] for line in output.splitlines() if line.startswith("total"))
    return min(seconds), usage.ru_maxrss / 1024, int(total)


def main() -> None:
    """Print one row a size, then the slope."""
    config = load_config(ROOT / "config.yaml")
    _, per_seed = shape(with_seeds(config, 1))
    fixed = 150  # about what does not depend on seeds: downloads, manifests, pools
    rows = []
    print(
        f"{'jobs':>6} {'bare jobs':>9} {'ours s':>7} {'bare s':>7} {'ratio':>6} {'ours MB':>8} "
        f"{'bare MB':>8}"
    )
    for wanted in [int(argument) for argument in sys.argv[1:]] or DEFAULT_JOBS:
        sized = with_seeds(config, max(1, round((wanted - fixed) / per_seed)))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "study.yaml").write_text(
                yaml.safe_dump(sized, allow_unicode=True), encoding="utf-8"
            )
            (folder / "bare").mkdir()
            (folder / "bare/Snakefile").write_text(BARE, encoding="utf-8")
            (folder / "bare/plan.json").write_text(json.dumps(shape(sized)[0]), encoding="utf-8")
            ours_s, ours_mb, jobs = dry_run(
                folder,
                "--snakefile",
                str(ROOT / "Snakefile"),
                "--configfile",
                str(folder / "study.yaml"),
            )
            bare_s, bare_mb, bare_jobs = dry_run(folder / "bare")
        rows.append((jobs, ours_s, bare_s))
        print(
            f"{jobs:6} {bare_jobs:9} {ours_s:7.2f} {bare_s:7.2f} {ours_s / bare_s:6.2f} "
            f"{ours_mb:8.0f} {bare_mb:8.0f}",
            flush=True,
        )
    if len(rows) > 1:
        (low, ours_low, bare_low), (high, ours_high, bare_high) = rows[0], rows[-1]
        scale = 1000 / (high - low)
        print(
            f"slope: ours {(ours_high - ours_low) * scale:.2f}, bare "
            f"{(bare_high - bare_low) * scale:.2f} s per 1000 jobs"
        )
    worst = max(ours / bare for _, ours, bare in rows)
    print(f"worst ratio {worst:.2f}; goal at most {LIMIT}")


if __name__ == "__main__":
    main()
