"""Configuration files: read, held against the schema, defaults filled in.

Read while the DAG is built, so all of `study/` uses the standard library, PyYAML and jsonschema (a
dependency of Snakemake) only.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from warmstart.run.errors import UserError
from warmstart.study import config_faults

# PyYAML's loader in C is ten times as fast and is missing in some builds; both are the safe ones.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration file as Snakemake would."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_LOADER)


def refuse_duplicates(path: str | Path) -> None:
    """Refuse a file in which a name stands twice in one block: YAML silently keeps the second, and
    a whole block is lost.

    Raises:
        UserError: with the name, its place and both lines.
    """

    def look(node: yaml.Node, place: str) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                look(item, place)
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, item in node.value:
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
        UserError: no such file, or not YAML.
    """
    try:
        if source.startswith("{"):
            return json.loads(source)
        refuse_duplicates(source)
        return load_config(source)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{source}: {error}; give a configuration with --config") from error


def validate(config: dict[str, Any], schema_path: str | Path) -> None:
    """Check `config` against the JSON Schema and fill in its defaults, in place.

    Not `snakemake.utils.validate`: that one imports pandas, which a dry run must not need, and
    names neither the allowed keys nor a near miss.

    Raises:
        UserError: the first offence, with its place in the file, its value and what is allowed.
    """
    schema = load_config(schema_path)
    _check_names(config, "")
    _fill_defaults(config, schema, schema)
    _check_schema(config, schema)
    corpus = {"$defs": schema["$defs"], **schema["$defs"]["corpus"]}
    for section in ("languages", "support_languages"):
        for lang, block in config[section].items():
            for name, code in block["corpora"].items():
                if isinstance(code, dict) and name in config["corpora"]:
                    own = {key: value for key, value in code.items() if key != "code"}
                    _check_schema(
                        {**config["corpora"][name], **own},
                        corpus,
                        f"{section}.{lang}.corpora.{name}",
                    )


def _check_schema(value: Any, schema: dict[str, Any], place: str = "") -> None:
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(value),
        key=lambda error: list(map(str, error.path)),
    )
    if errors:
        raise UserError(config_faults.fault(errors[0], place))


def _check_names(value: Any, place: str) -> None:
    """JSON Schema looks at names that are text only, and YAML reads the code of Norwegian as
    False."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_names(item, f"{place}.{number}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(config_faults.not_text(key, place))
            _check_names(item, f"{place}.{key}" if place else key)


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _fill_defaults(value: Any, node: dict[str, Any], root: dict[str, Any]) -> None:
    node = _resolve(node, root)
    if not isinstance(value, dict):
        return
    for key, child in node.get("properties", {}).items():
        resolved = _resolve(child, root)
        if key not in value and "default" in resolved:
            # A copy: two languages must not share one default mapping.
            value[key] = json.loads(json.dumps(resolved["default"]))
        if key in value:
            _fill_defaults(value[key], child, root)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        for key, child_value in value.items():
            if key not in node.get("properties", {}):
                _fill_defaults(child_value, extra, root)


SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "config.schema.yaml"
