"""The report: one HTML page made of the tables, figures and provenance of a study, with nothing
loaded from a network.

Sentences are chosen by what the intervals carry; a number without an interval is called not
estimable. Everything that comes from data or configuration is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from warmstart.evidence import analyses, recognition, registration
from warmstart.evidence.analyses.base import TRAINING, Analysis
from warmstart.evidence.display import Display, listed
from warmstart.evidence.registration import Registration
from warmstart.evidence.settings import Contrast
from warmstart.report import examples as error_examples
from warmstart.report import fairness, provenance, quality, svg, tested
from warmstart.report.answer import Answer, lowest_wer
from warmstart.report.blocks import (
    Banner,
    Block,
    Cards,
    Code,
    Drawn,
    Folded,
    Heading,
    Lines,
    Questions,
    Section,
    Table,
    Text,
)
from warmstart.report.examples import Picked
from warmstart.report.fairness import Run
from warmstart.report.methods import methods
from warmstart.report.quality import Quality
from warmstart.report.sentences import contrast_title, differences


@dataclass(frozen=True)
class Material:
    """What the page is made from.

    Attributes:
        tables: analysis -> table.
        display: names and choices of the study.
        runs: contents of run.json, one a run.
        quality: what is known of the data.
        figures: folder of the figures; None: none are shown.
        examples: of errors.
        registered: what the first tables were asked for; None: nobody wrote it down.
        rates_chosen_on: what the learning rates were chosen on, an arm or in words; empty: the
            configuration does not say it.
    """

    tables: Mapping[str, pd.DataFrame]
    display: Display
    runs: Sequence[Run] = ()
    quality: Quality = field(default_factory=Quality)
    figures: Path | None = None
    examples: Sequence[Picked] = ()
    registered: Registration | None = None
    rates_chosen_on: str = ""


def page(material: Material) -> list[Section]:
    """All sections, in order."""
    sections = [_answer(material), _tested(material), *_of_analyses(material)]
    if material.examples:
        sections.insert(_place(sections, TRAINING.anchor), _errors(material))
    training = sections[_place(sections, TRAINING.anchor)]
    runs = Table(provenance.runs_sheet(material.runs, material.display))
    training.blocks.append(Folded(f"Every run ({len(material.runs)})", [runs]))
    return [*sections, _data(material), _audit(material), _provenance(material), _methods(material)]


def subtitle(material: Material) -> str:
    """Languages, arms, budgets and tiers, in one line."""
    display = material.display
    hours = sorted(material.tables["wer"].hours.unique())
    return " · ".join(
        [
            ", ".join(display.languages.values()),
            listed(display.arm(name) for name in display.arms),
            ", ".join(f"{each:g}" for each in hours if each > 0) + " h",
            ", ".join(map(display.tier, display.tiers)),
        ]
    )


def footer(material: Material) -> str:
    """The code that trained the models."""
    commit = provenance.commit_of(material.runs)
    return f"Code {commit[:12]}." if commit else ""


def _place(sections: Sequence[Section], anchor: str) -> int:
    return next(place for place, section in enumerate(sections) if section.anchor == anchor)


# ---- answer


def _answer(material: Material) -> Section:
    """Advice, questions and key figures of every contrast, the first one's in front; then what a
    reader must not miss."""
    display, tables = material.display, material.tables
    blocks: list[Block] = []
    for place, contrast in enumerate(display.contrasts):
        answer = Answer(tables, display, contrast)
        if display.several_contrasts:
            blocks.append(Heading(contrast_title(display, contrast)))
        for number, advice in enumerate(answer.advice()):
            blocks.append(replace(advice, lead=not (number or place)))
        if questions := answer.questions():
            blocks.append(Questions(questions))
        cards = answer.cards() + ([] if place else lowest_wer(tables, display))
        if cards:
            blocks.append(Cards(cards))
    return Section("answer", "Answer", "Answer", [*blocks, *banners(material)])


def _tested(material: Material) -> Section:
    """What the rates are of."""
    display = material.display
    rows = tested.rows_of(material.tables, material.quality, display)
    described = tested.descriptions(display, rows)
    return Section(
        "tests",
        "Test sets",
        "What it was tested on",
        [
            *([Lines(described)] if described else []),
            Table(tested.sheet_of(display, rows)),
            *(Text(line, "note") for line in tested.resampled(display, rows)),
        ],
    )


def banners(material: Material) -> list[Banner]:
    """Models that do not recognise, settings that changed after the first tables, contamination of
    test sets, unfair pairs, contrasts about several things; a green one when none was found."""
    display = material.display
    found = []
    if material.registered and (changed := registration.lines(material.registered)):
        found.append(Banner(registration.TITLE, changed))
    if unable := recognition.lines(material.tables["wer"], display):
        found.append(Banner(recognition.TITLE, unable))
    if seen := _seen(material):
        found.append(Banner("Test sets that a donor has seen", seen))
    if unknown := _unknown(material.display):
        found.append(Banner("Test sets that a donor may have seen", unknown))
    if mixed := [said for each in display.audited if (said := fairness.confounded(display, each))]:
        found.append(Banner("Contrasts of more than one thing", mixed))
    if lost := fairness.unheard(material.runs, display):
        found.append(Banner("Runs that heard less audio than they asked for", lost))
    different, missing, fine = [], [], []
    several = len(display.audited) > 1
    for contrast in display.audited:
        pairs = fairness.pairs(material.runs, display, contrast)
        before = f"{contrast.name}, " if several else ""
        different += [
            f"{before}{pair.name}: {', '.join(pair.different)}" for pair in pairs if pair.different
        ]
        missing += [
            f"{before}{pair.name}: {', '.join(pair.missing)} not recorded"
            for pair in pairs
            if pair.missing
        ]
        if pairs:
            of = f" of {contrast.name}" if several else ""
            but = _but(display, contrast)
            fine.append(
                f"All {len(pairs)} pairs of runs{of} differ in {but}, and in nothing else that is "
                f"compared: {fairness.COMPARED}."
            )
    if different:
        what = "the encoder" if _about_init(display) else "their contrast is about"
        found.append(Banner(f"Pairs that differ in more than {what}", different))
    if missing:
        found.append(Banner("Pairs that cannot be checked in full", missing))
    if not found and fine:
        fine.append("No donor of an encoder is listed as trained on a test set.")
        found.append(Banner("Fair comparison", fine, fine=True))
    if display.unspaced:
        names = listed(display.language(lang) for lang in display.unspaced)
        said = f"Nothing separates words in {names}: each character counts as a word there."
        found.append(Banner("WER of characters", [said]))
    return found


def _about_init(display: Display) -> bool:
    return all(display.about(contrast) == ["init"] for contrast in display.audited)


def _but(display: Display, contrast: Contrast) -> str:
    return (
        "the encoder"
        if display.about(contrast) == ["init"]
        else fairness.allowed(display, contrast)
    )


def _seen(material: Material) -> list[str]:
    """A line for each group of arms whose donors know the same test sets."""
    display = material.display
    scored, groups = set(material.tables["wer"].test_set), {}
    for test_set in display.test_sets:
        arms = tuple(name for name, arm in display.arms.items() if test_set in (arm.seen or ()))
        if arms and test_set in scored:
            groups.setdefault(arms, []).append(test_set)
    return [
        f"{', '.join(map(display.test_set, test_sets))}: the corpus is in the training data of "
        f"the donor of {listed(map(display.arm, arms))}. On it the gap measures earlier exposure "
        "as well as transfer."
        for arms, test_sets in groups.items()
    ]


def _unknown(display: Display) -> list[str]:
    """A line for the arms of whose donors nobody says what they heard."""
    arms = [name for name, arm in display.arms.items() if arm.seen is None]
    if not arms:
        return []
    return [
        f"What the donor of {listed(map(display.arm, arms))} was trained on is unknown. Any test "
        "set may be part of it, so a gap may measure earlier exposure as well as transfer."
    ]


# ---- analyses


def _of_analyses(material: Material) -> list[Section]:
    """The sections that analyses name, each with the parts of its analyses."""
    members: dict[str, list[Analysis]] = {}
    for analysis in analyses.load_all():
        members.setdefault(analysis.section.anchor, []).append(analysis)
    sections = []
    for own in members.values():
        first = own[0]
        section = Section(first.section.anchor, first.section.label, first.title)
        compared = [analysis for analysis in own if analysis.by_contrast]
        for contrast in material.display.contrasts if compared else ():
            level = 3
            if material.display.several_contrasts:
                section.blocks += [
                    Heading(contrast_title(material.display, contrast)),
                    Text(differences(material.display, contrast)),
                ]
                level = 4
            for analysis in compared:
                section.blocks += _part(analysis, material, contrast, level, analysis is first)
        for analysis in own:
            if not analysis.by_contrast:
                section.blocks += _part(analysis, material, None, 3, analysis is first)
        sections.append(section)
    return sections


def _part(
    analysis: Analysis, material: Material, contrast: Contrast | None, level: int, first: bool
) -> list[Block]:
    """What the page shows of one analysis.

    Args:
        analysis: which.
        material: of the page.
        contrast: the one to show, where it has a part for each.
        level: of its heading.
        first: its heading is that of the section.
    """
    display, tables = material.display, material.tables
    heading = "" if first else analysis.heading(display, contrast)
    if absent := analysis.absent(tables, display, contrast):
        return [*([Heading(heading, level)] if heading else []), Text(absent)]
    blocks: list[Block] = []
    sheet = analysis.sheet(tables, display, contrast)
    if text := analysis.text(tables, display, contrast):
        blocks.append(Text(text))
    place = display.contrasts.index(contrast) if contrast else 0
    for drawing in analysis.figures:
        name = analyses.figure_name(drawing.name, place, contrast.name if contrast else "")
        path = material.figures / f"{name}.svg" if material.figures else None
        if path and path.exists():
            caption = drawing.caption.format(**display.words(contrast))
            if svg.is_empty(path):
                blocks.append(Text(f"There is no figure here, because {drawing.empty}.", "note"))
                continue
            blocks.append(Drawn(name, svg.inline(path), caption))
    if sheet is not None:
        blocks.append(Table(sheet))
    if blocks and analysis.note and not place:
        blocks.append(Text(analysis.note, "note"))
    if blocks and heading:
        blocks.insert(0, Heading(heading, level))
    return blocks


# ---- the rest


def _errors(material: Material) -> Section:
    display, picked = material.display, material.examples
    name = display.arm(display.contrasts[0].challenger)
    intro = (
        f"A few utterances of each test set, chosen by the errors of {name} at its most data: "
        "typical ones, and those with most errors in a hundred words. Struck out: said and not "
        "recognised. Bold: recognised and not said."
    )
    return Section(
        "errors",
        "Examples",
        "Examples of errors",
        [
            Text(intro),
            error_examples.block_of(picked, display, material.tables["wer"]),
            *(Text(line, "note") for line in error_examples.licence_lines(picked, display)),
        ],
    )


def _data(material: Material) -> Section:
    display, known = material.display, material.quality
    guard = quality.guard_text(known, display)
    return Section(
        "data",
        "Data",
        "Data",
        [
            Table(quality.data_sheet(known, display)),
            Text(f"Read, kept and dropped training cuts per corpus. {guard}".strip(), "note"),
            *_dropped(known, display),
            *_unwritable(known, display),
        ],
    )


def _dropped(known: Quality, display: Display) -> list[Block]:
    drops = quality.drops_sheet(known, display)
    if not drops.rows:
        return [Text("Nothing was dropped.", "note")] if known.pools else []
    return [Folded(f"What was dropped, by reason ({len(drops.rows)})", [Table(drops)])]


def _unwritable(known: Quality, display: Display) -> list[Block]:
    missing = quality.unwritable_sheet(known, display)
    if not missing.rows:
        said = "Every character of the texts has a token."
        return [Text(said, "note")] if known.coverage else []
    return [
        Heading("Characters that no hypothesis can contain"),
        Text(
            "Characters of the normalised texts, and phones of arms that write phones, that an "
            "arm has no token for: each in a test set is an error at every budget, and each in a "
            "training text is learnt as <unk>.",
            "note",
        ),
        Table(missing),
    ]


def _audit(material: Material) -> Section:
    """Whether each contrast compares what it says."""
    display, runs = material.display, material.runs
    section = Section("audit", "Fairness", "Is the comparison fair?")
    for place, contrast in enumerate(display.contrasts):
        if display.several_contrasts:
            section.blocks.append(Heading(contrast_title(display, contrast)))
        pairs = fairness.pairs(runs, display, contrast)
        what = fairness.allowed(display, contrast)
        section.blocks += [
            Text(
                f"Two runs of one {'training set' if display.several_parts else 'language'}, "
                f"budget and seed must differ in {what} and in nothing else. Compared from each "
                f"run's run.json: {fairness.COMPARED}."
            ),
            Folded(
                f"Every pair ({len(pairs)})",
                [Table(fairness.pair_sheet(f"pairs-{contrast.name}" if place else "pairs", pairs))],
            ),
        ]
    section.blocks.append(Text(_rates(material)))
    section.blocks.append(Heading("What the donors bring with them"))
    for contrast in display.contrasts:
        if "init" in display.about(contrast):
            section.blocks.append(Text(fairness.donor_text(runs, display, contrast)))
    section.blocks.append(Table(fairness.donors_sheet(runs, display)))
    return section


def _rates(material: Material) -> str:
    """What no comparison of runs can see: on which of them the recipe was tuned."""
    chosen = material.rates_chosen_on
    if not chosen:
        return (
            "What the learning rates were chosen on, the configuration does not say "
            "(report.rates_chosen_on). A rate that suits one side makes the other look worse."
        )
    return (
        f"The learning rates were chosen on {material.display.arm(chosen)}. The size of the gap "
        "depends on that choice."
    )


def _provenance(material: Material) -> Section:
    runs = material.runs
    common = provenance.common_facts(runs)
    table = Table(provenance.provenance_sheet(runs))
    said = "Code, machines, files and versions that the models were made with."
    folded = Folded(f"All {len(runs)} runs", [*([Lines(common)] if common else []), table])
    blocks: list[Block] = [Text(said, "note"), folded]
    return Section("provenance", "Provenance", "Provenance", blocks)


def _methods(material: Material) -> Section:
    display = material.display
    commit = provenance.commit_of(material.runs) or "not recorded"
    citation = (
        f"warmstart, study “{display.name}”, commit {commit}: {display.title}.\n"
        "Reproduces and extends: N. Banfic, arXiv:2606.24169 (2026)."
    )
    return Section(
        "methods",
        "Methods",
        "Methods",
        [
            Lines([*methods(display), *_registered(material)]),
            Heading("How to cite"),
            Code(citation),
        ],
    )


def _registered(material: Material) -> list[str]:
    return [registration.sentence(material.registered)] if material.registered else []
