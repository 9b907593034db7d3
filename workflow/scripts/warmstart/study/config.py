"""Configuration files: read, held against the schema, defaults filled in and taken out again.

Read while the DAG is built, so all of `study/` uses the standard library, PyYAML and jsonschema (a
dependency of Snakemake) only.
"""

import copy
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from warmstart.data import corpora
from warmstart.run.errors import UserError
from warmstart.study import config_faults, config_values

# PyYAML's loader in C is ten times as fast and is missing in some builds; both are the safe ones.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "config.schema.yaml"

# What a language says of itself in a corpus, beside settings of the corpus's block.
_OWN_CODE = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "the language's own code in the corpus"}
    },
}

# Keys of the recipe that no arm can have of its own, and why.
OF_THE_STUDY = {
    "replay": "it is what a run hears: give it to a training set (training_sets.NAME.replay)",
    "freeze": "it is an adaptation: write arms.NAME.adaptation: {kind: freeze, ...}",
    "adaptation": "it is a key of the arm itself: write arms.NAME.adaptation",
    "adapter_dim": "it is an adaptation: write arms.NAME.adaptation: {kind: adapter, dim: ...}",
    "devices": "runs on other numbers of devices hear other batches: set training.devices",
    "num_nodes": "runs on other numbers of devices hear other batches: set training.num_nodes",
    "batch_profile": "arms that are compared hear one order of data: set training.batch_profile",
    "num_workers": "no model changes with it: set training.num_workers",
    "max_unreadable_fraction": "it is a limit: set training.max_unreadable_fraction",
    "log_every_steps": "no model changes with it: set training.log_every_steps",
}
OF_THE_STUDY_IN_MODEL = {
    "contexts": "all arms are decoded at its tiers: set training.model.contexts",
    "context_probs": "all arms are decoded at its tiers: set training.model.context_probs",
}


def load_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration file as Snakemake would."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_LOADER)


def refuse_duplicates(path: str | Path) -> None:
    """Refuse what YAML reads in silence as something else than was written: a name that stands
    twice in one block, of which the second stays and a whole block is lost; and numbers such as 010
    and 1:30.

    Raises:
        UserError: with the name or the number, its place and its lines.
    """
    seen: set[int] = set()  # an alias is one node in many places

    def look(node: yaml.Node, place: str) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
            if number and (read := config_values.misread(node.value)):
                raise UserError(
                    f"{path}: line {node.start_mark.line + 1}: {place} is {node.value}, which YAML "
                    f"reads as {read}; write the number in full, or in quotes where a text is meant"
                )
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                look(item, place)
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, item in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise UserError(
                        f"{path}: line {key.start_mark.line + 1}: a list or a block stands as a "
                        f"name at {place or 'the top level'}; write a word"
                    )
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise UserError(
                        f"{path}: {key.value!r} stands twice at {place or 'the top level'}, in "
                        f"lines {lines[key.value]} and "
                        f"{line}, and the second would replace the first; make one block of both"
                    )
                lines[key.value] = line
                look(item, f"{place}.{key.value}" if place else key.value)

    with open(path, encoding="utf-8") as stream:
        if (tree := yaml.compose(stream, Loader=_LOADER)) is not None:
            look(tree, "")


def read_config(source: str) -> dict[str, Any]:
    """The configuration that a planner was given: the path of a file, or JSON as the rules pass it.

    Raises:
        UserError: no such file, not YAML in UTF-8, or no block of keys.
    """
    try:
        source = source.removeprefix("@")
        if source.startswith("{"):
            return json.loads(source)
        refuse_duplicates(source)
        config = load_config(source)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{source}: {why}; give a configuration with --config") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{source}: no YAML in UTF-8 ({why}); correct the file") from error
    if not isinstance(config, dict):
        raise UserError(f"{source}: no block of keys at its top level; write `key: value` lines")
    return config


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a configuration.

    What an arm may say of the recipe is the recipe's own block without required keys and defaults.
    """
    made = load_config(SCHEMA)
    made["$defs"]["corpus"] = corpora.schema()
    recipe = made["$defs"]["training"]["properties"]
    own = {key: _partial(recipe[key], made) for key in recipe if key not in OF_THE_STUDY}
    for key in OF_THE_STUDY_IN_MODEL:
        del own["model"]["properties"][key]
    made["$defs"]["recipe_of_an_arm"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": own,
        "default": {},
    }
    return made


def validate(config: dict[str, Any]) -> None:
    """Check `config` against the JSON Schema and fill in its defaults, in place.

    Not `snakemake.utils.validate`: that one imports pandas, which a dry run must not need, and
    names neither the allowed keys nor a near miss.

    Raises:
        UserError: the first offence, with its place in the file, its value and what is allowed.
    """
    config_values.check(config)
    _check_overrides(config)
    _fill_defaults(config, schema(), schema())
    _make_whole(config)
    _check_schema(config, schema())
    config_values.check_numbers(config)
    corpus = {"$defs": schema()["$defs"], **schema()["$defs"]["corpus"]}
    for section in ("languages", "support_languages"):
        for lang, block in config[section].items():
            for name, code in block["corpora"].items():
                if isinstance(code, dict) and name in config["corpora"]:
                    _check_schema(code, _OWN_CODE, f"{section}.{lang}.corpora.{name}")
                    own = {key: value for key, value in code.items() if key != "code"}
                    _check_schema(
                        {**config["corpora"][name], **own},
                        corpus,
                        f"{section}.{lang}.corpora.{name}",
                    )


def filled_by(node: dict[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of settings with the defaults of a schema; keys that it does not know stay."""
    result = copy.deepcopy(dict(value))
    _fill_defaults(result, node, schema())
    return result


def canonical_by(node: dict[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what equals its default in a schema; the inverse of `filled_by`."""
    return _canonical(dict(value), node)


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe `base` with what an arm says otherwise.

    Of the blocks `model`, `optimizer` and `schedule` single keys are replaced, others as a whole:
    half of one `steps` and half of another would be neither.
    """
    result = copy.deepcopy(dict(base))
    for key, value in own.items():
        single = key in ("model", "optimizer", "schedule")
        result[key] = {**result[key], **value} if single else copy.deepcopy(value)
    return result


def _partial(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """A schema of some keys of `node`: nothing is required and nothing filled in."""
    node = {**_resolve(node, root)}
    for key in ("required", "default", "minProperties"):
        node.pop(key, None)
    if "properties" in node:
        node["properties"] = {
            key: _partial(child, root) for key, child in node["properties"].items()
        }
    return node


def _canonical(value: Any, node: dict[str, Any]) -> Any:
    node = _resolve(node, schema())
    if not isinstance(value, dict):
        return value
    properties, extra = node.get("properties", {}), node.get("additionalProperties")
    result = {}
    for key, one in value.items():
        child = properties.get(key, extra if isinstance(extra, dict) else {})
        if (default := _default_of(child)) is not None and one == default[0]:
            continue
        result[key] = _canonical(one, child)
    return result


def _default_of(node: dict[str, Any]) -> list[Any] | None:
    """The default of a key, its own defaults filled in, as a list of one; None where it has
    none."""
    resolved = _resolve(node, schema())
    found = node if "default" in node else resolved
    if "default" not in found:
        return None
    value = copy.deepcopy(found["default"])
    _fill_defaults(value, resolved, schema())
    return [value]


def _check_overrides(config: dict[str, Any]) -> None:
    """What belongs to the study cannot differ between its arms."""
    arms = config.get("arms")
    for name, arm in arms.items() if isinstance(arms, dict) else []:
        own = arm.get("training") if isinstance(arm, dict) else None
        if not isinstance(own, dict):
            continue
        model = own.get("model")
        model = model if isinstance(model, dict) else {}
        places = {key: OF_THE_STUDY[key] for key in own if key in OF_THE_STUDY}
        places |= {
            f"model.{key}": OF_THE_STUDY_IN_MODEL[key]
            for key in model
            if key in OF_THE_STUDY_IN_MODEL
        }
        for key, why in places.items():
            raise UserError(
                f"config: arms.{name}.training.{key} belongs to the study, because {why}"
            )


def _make_whole(config: dict[str, Any]) -> None:
    """Whole numbers as such: of the study, and of what its corpora say, each kind by its own
    keys."""
    config_values.whole(config, schema(), schema())
    kinds = {}
    for name, block in _blocks(config.get("corpora")):
        if block.get("kind") in corpora.KINDS:
            kinds[name] = {"properties": corpora.reader(block["kind"]).properties()}
            config_values.whole(block, kinds[name], {})
    for section in ("languages", "support_languages"):
        for _, lang in _blocks(config.get(section)):
            for name, own in _blocks(lang.get("corpora")):
                config_values.whole(own, kinds.get(name, {}), {})


def _blocks(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The named blocks of a part that the schema has not seen yet."""
    items = value.items() if isinstance(value, dict) else ()
    return [(name, block) for name, block in items if isinstance(block, dict)]


def _check_schema(value: Any, schema: dict[str, Any], place: str = "") -> None:
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(value),
        key=lambda error: list(map(str, error.path)),
    )
    if errors:
        raise UserError(config_faults.fault(errors[0], place))


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _fill_defaults(value: Any, node: dict[str, Any], root: dict[str, Any]) -> None:
    node = _resolve(node, root)
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        for item in value:
            _fill_defaults(item, node["items"], root)
    if not isinstance(value, dict):
        return
    for key, child in node.get("properties", {}).items():
        found = child if "default" in child else _resolve(child, root)
        if key not in value and "default" in found:
            # A copy: two languages must not share one default mapping.
            value[key] = copy.deepcopy(found["default"])
        if key in value:
            _fill_defaults(value[key], child, root)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        for key, child_value in value.items():
            if key not in node.get("properties", {}):
                _fill_defaults(child_value, extra, root)
