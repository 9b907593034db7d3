"""The guides name things that exist."""

import re
from pathlib import Path

import pytest
from conftest import ROOT


def text_of(*places: str) -> str:
    paths = [
        path for place in places for path in sorted(ROOT.glob(place)) if path != Path(__file__)
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_test_that_the_fault_table_names_exists():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/cluster.md").read_text(encoding="utf-8"))
    there = re.findall(r"^def (test_\w+)\(", text_of("tests/*/test_*.py"), re.MULTILINE)
    assert len(named) >= 14
    assert [name for name in named if name not in there] == []


def test_every_message_of_ours_that_the_guide_quotes_is_said_somewhere():
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*(`.+?)\*\*(?: \((\w+))?", page, re.MULTILINE)
    # Those of Snakemake, its plugin, sbatch and HTTP are marked, or are capitals and states of
    # Slurm.
    quoted = [
        found
        for message, marked in entries
        if marked not in ("Snakemake", "plugin", "sbatch")
        for found in re.findall(r"`([^`]+)`", message)
        if "HTTP" not in found and "403" not in found
    ]
    # A message may run over two literals of the source.
    said = re.sub(r'"\s*f?"', "", text_of("workflow/rules/*.smk", "workflow/scripts/**/*.py"))
    assert len(quoted) >= 30
    strange = [found for found in quoted if found not in said and found != "exceeded memory limit"]
    assert strange == []


GUIDES = [
    *(path.name for path in sorted(ROOT.glob("*.md"))),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
]


@pytest.mark.parametrize("guide", GUIDES)
def test_no_line_of_a_guide_is_wider_than_a_screen(guide):
    lines = (ROOT / guide).read_text(encoding="utf-8").splitlines()
    if guide == "docs/outputs.md":
        # Its tables are written by a program, a meaning a cell.
        lines = [line for line in lines if not line.startswith("|")]
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_that_a_guide_names_exists(guide):
    text = (ROOT / guide).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([\w./-]+)\)|<img src=\"([^\"]+)\"", text)
    links = [link or image for link, image in links]
    folders = "profiles|tests|docs|workflow|envs|benchmarks|demo|tools"
    paths = re.findall(rf"`((?:{folders})/[\w./+-]+)`", text)
    assert [link for link in links if not ((ROOT / guide).parent / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_that_a_guide_gives_exists(guide):
    text = (ROOT / guide).read_text(encoding="utf-8")
    commands = "\n".join(
        [
            *re.findall(r"`([^`\n]+)`", text),
            *re.findall(r"^    (.+)$", text.replace("\\\n", " "), re.MULTILINE),
        ]
    )
    made = re.findall(r"^([\w-]+):", text_of("Makefile"), re.MULTILINE)
    assert [
        name
        for name in re.findall(r"^make ([a-z][\w-]*)", commands, re.MULTILINE)
        if name not in made
    ] == []
    rules = re.findall(r"^rule (\w+):", text_of("Snakefile", "workflow/rules/*.smk"), re.MULTILINE)
    asked = re.findall(
        r"^snakemake [^#\n]*?\b((?:all_\w+)|report|hours|cost|plan)(?= |$)", commands, re.MULTILINE
    )
    assert [name for name in asked if name not in rules] == []
    for program, options in re.findall(
        r"python ((?:workflow/scripts|benchmarks)/\w+\.py)([^\n#]*)", commands
    ):
        source = (ROOT / program).read_text(encoding="utf-8") + text_of(
            "workflow/scripts/warmstart/run/cli.py"
        )
        assert [
            option for option in re.findall(r"--[\w-]+", options) if f'"{option}"' not in source
        ] == [], program
