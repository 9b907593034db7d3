"""Names that stand for something that is defined elsewhere in the configuration.

Looked at before anything that follows from them: a misspelt test set is told as such, and not as a
headline that nobody is scored on.
"""

from warmstart.study.checks.allowed import require
from warmstart.study.grid import Study


def check(study: Study) -> None:
    """Every corpus and every test set that is named is defined.

    Raises:
        UserError: with the key, its value, the nearest name that there is, and all of them.
    """
    config = study.config
    corpora, test_sets = config["corpora"], config["test_sets"]
    for section in ("languages", "support_languages"):
        for lang, block in config[section].items():
            here = f"{section}.{lang}"
            for key in ("training_corpora", "corpora"):
                for corpus in block.get(key, ()):
                    require(f"{here}.{key}", corpus, corpora)
            for name in block.get("test_sets", ()):
                require(f"{here}.test_sets", name, test_sets)
            if "validation" in block:
                require(f"{here}.validation.corpus", block["validation"]["corpus"], corpora)
    for name, source in test_sets.items():
        require(f"test_sets.{name}.corpus", source["corpus"], corpora)
    if "validation" in config:
        require("validation.corpus", config["validation"]["corpus"], corpora)
    for name, init in config["inits"].items():
        if recipe := init.get("pretrain"):
            require(f"inits.{name}.pretrain.corpus", recipe["corpus"], corpora)
    require("statistics.headline_test_set", config["statistics"]["headline_test_set"], test_sets)
    require("statistics.reference_tier", config["statistics"]["reference_tier"], study.tiers)
