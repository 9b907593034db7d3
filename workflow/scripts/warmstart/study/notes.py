"""What a user should know of a study before it runs, though nothing in it is a fault."""

from warmstart.evidence.settings import headline_test_set
from warmstart.study.grid import Study


def notes(study: Study) -> list[str]:
    """Lines for the dry run."""
    return read_elsewhere(study)


def read_elsewhere(study: Study) -> list[str]:
    """A line for each test set that languages without the headline test set are read from."""
    headline = study.config["statistics"]["headline_test_set"]
    groups: dict[str, list[str]] = {}
    for lang in study.languages:
        own = study.language(lang)["test_sets"]
        if own and (chosen := headline_test_set(headline, own)) != headline:
            groups.setdefault(chosen, []).append(lang)
    return [
        f"{', '.join(langs)}: statistics.headline_test_set is {headline!r}, which is not in "
        f"{', '.join(f'languages.{lang}.test_sets' for lang in langs)}; answer, figures and "
        f"guideline take {chosen!r}, the first there, and means over languages leave "
        f"{'them' if len(langs) > 1 else 'it'} out"
        for chosen, langs in groups.items()
    ]
