"""What a finished study has brought forth, and what of it was deleted."""

from pathlib import Path

from warmstart.study import paths
from warmstart.study.grid import Study

PAGE = Path("results/report.html")


def deleted(study: Study) -> list[str]:
    """Files that somebody wants back: they are gone, and what was made of them is there.

    Snakemake makes a file that is missing only where something asks for it. Scores, hypotheses and
    runs are asked for by what follows, as long as that is not made. Named here are the others, and
    not all files at all times: thousands of targets would make each dry run slower.
    """
    wanted: list[str] = []
    logged = study.config["decoding"]["log_candidates"]
    for lang in study.scored_languages:
        scores = f"results/scores/{lang}.parquet"
        if not Path(scores).exists():
            wanted.append(scores)
            continue
        for hypotheses in paths.hypotheses(study, lang, phones=False):
            wanted += [hypotheses, paths.header(hypotheses)]
            wanted += [paths.candidates(hypotheses)] if logged else []
    for run in study.runs():
        files = paths.run_files(study, run)
        # The others of a run vouch for it: it was finished once.
        if any(Path(path).exists() for path in files[1:]) or PAGE.exists():
            wanted += files
    wanted += [f"results/pools/{lang}.qc.json" for lang in study.pooled_languages]
    return [path for path in dict.fromkeys(wanted) if not Path(path).exists()]
