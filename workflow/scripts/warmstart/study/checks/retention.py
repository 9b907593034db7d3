"""What donors should not forget: languages that can be tested, and a joint model of all of them."""

from warmstart.run.errors import UserError
from warmstart.study.checks.allowed import require
from warmstart.study.checks.training_sets import require_pool_and_tests
from warmstart.study.grid import Study


def check_languages(study: Study) -> None:
    """Languages of `retention` can be tested. First of all, because pools follow from them.

    Raises:
        UserError: with key, value and remedy.
    """
    here = "retention.languages"
    known = [*study.languages, *study.config["support_languages"]]
    for lang in study.retained_languages:
        require(here, lang, known)
        if lang not in study.languages:
            require_pool_and_tests(study, f"{here} has {lang!r}", lang)
        elif not study.language(lang).get("test_sets"):
            raise UserError(
                f"{here} has {lang!r}, and languages.{lang} lists no test_sets; give it some"
            )


def check(study: Study) -> None:
    """Some init is decoded in them as it is, every model can write them, and the joint training set
    hears all of them.

    Raises:
        UserError: with key, value and remedy.
    """
    if (asked := study.config["retention"]) is None:
        return
    here = "retention.languages"
    for name, one in study.training_sets.items():
        headless = [lang for lang in asked["languages"] if one.heads() and lang not in one.heads()]
        if headless:
            raise UserError(
                f"{here} has {headless[0]!r}, and training_sets.{name} has heads: per_language "
                f"({', '.join(one.heads())}), none of which writes it; replay {headless[0]} in "
                "it, which gives it a head, or write heads: shared"
            )
    if not any(map(study.zero_shot_runs, asked["languages"])):
        raise UserError(
            f"{here} is {', '.join(asked['languages'])}, and no init is decoded in them before it "
            f"is adapted; give inits.{study.inits[0]}.zero_shot: {{}} (with prompts of these "
            "languages, if the model has prompts)"
        )
    if (joint := asked["joint"]) is not None:
        require("retention.joint", joint, study.training_sets)
        heard = study.training_set(joint).heard()
        if missing := [lang for lang in asked["languages"] if lang not in heard]:
            raise UserError(
                f"retention.joint is {joint!r}, which does not hear {', '.join(missing)}: a joint "
                "model learns the new language and all of retention.languages; add them to its "
                "languages or its replay, or name another training set"
            )
