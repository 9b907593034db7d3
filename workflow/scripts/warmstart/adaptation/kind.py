"""What is declared of an adaptation, so that a dry run knows it. Standard library and jsonschema
only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from warmstart.adaptation import layers
from warmstart.run.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """What an adaptation is and needs.

    Attributes:
        target: `module:Class` of its `base.Adaptation`.
        about: one line for people who choose.
        options: name -> JSON schema of its value, with a `description`, and with a `default`
            unless it must be given.
        needs: what it uses of a model; a family must offer all of it (`models.Kind.offers`).
        keeps_encoder: whether the donor's encoder stays as it is, which makes no sense with random
            weights.
        exportable: whether all of it is in the weights of a model in the end, so that exports and
            bundles have it.
        least_languages: how many a training set must have.
        leaves_others: whether languages beside those of the training set decode as before, bit for
            bit, so that there is nothing for replay to keep.
        writes: what it writes beside the model (`base.Adaptation.write`), paths below the folder of
            the run.
        unsaid: options that a filled block leaves out where they have their default. They came
            after blocks without them had been recorded, and those records stay what they are.
        made_of: the option that names the arms whose low-rank updates it is made of; '' = of none.
        own_steps: the option that says how many steps a run has, in place of `training.steps`; '' =
            none does.
        fits: options and the linear layers of a donor (`models.base.Donor.linears`) -> why the two
            do not go together and how to mend it; None if they do.
        fault: options -> what is wrong with them together and how to mend it; None if nothing.
    """

    target: str
    about: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    keeps_encoder: bool = False
    exportable: bool = True
    least_languages: int = 1
    leaves_others: bool = False
    writes: tuple[str, ...] = ()
    unsaid: frozenset[str] = frozenset()
    made_of: str = ""
    own_steps: str = ""
    fits: Callable[[Mapping[str, Any], layers.Linears], str | None] | None = None
    fault: Callable[[Mapping[str, Any]], str | None] | None = None

    def schema(self, name: str) -> dict[str, Any]:
        """JSON schema of a block `adaptation` of this kind."""
        return {
            "description": self.about,
            "type": "object",
            "additionalProperties": False,
            "required": ["kind", *(key for key in self.options if self._must_be_given(key))],
            "properties": {
                "kind": {"const": name},
                **{key: dict(value) for key, value in self.options.items()},
            },
        }

    def filled(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """A block `adaptation` with all its options but the `unsaid` ones.

        Args:
            name: of the kind.
            options: those that are given.

        Raises:
            UserError: an unknown option, one that is lacking, a value outside its schema, or
                options that do not go together.
        """
        import jsonschema

        here = f"adaptation {name}"
        for key in options:
            if key not in self.options:
                raise UserError(
                    f"{here} has no option {key!r}{did_you_mean(key, self.options)}; it has "
                    f"{', '.join(self.options) or 'none'}"
                )
        if lacking := [
            key for key in self.options if self._must_be_given(key) and key not in options
        ]:
            raise UserError(f"{here} lacks {', '.join(lacking)}; give the block a value for each")
        # As in the study's schema: 64.0 is the integer 64.
        options = {
            key: int(value)
            if self.options[key].get("type") == "integer"
            and isinstance(value, float)
            and value.is_integer()
            else value
            for key, value in options.items()
        }
        for key, value in options.items():
            try:
                jsonschema.validate(value, dict(self.options[key]))
            except jsonschema.ValidationError as error:
                about = self.options[key].get("description", "see its schema")
                raise UserError(f"{here}.{key} is {value!r}: {error.message}; {about}") from error
        defaults = {
            key: value["default"] for key, value in self.options.items() if "default" in value
        }
        made = {**defaults, **options}
        if self.fault is not None and (why := self.fault(made)) is not None:
            raise UserError(f"{here}: {why}")
        said = {
            key: value
            for key, value in made.items()
            if key not in self.unsaid or value != defaults[key]
        }
        return {"kind": name, **said}

    def _must_be_given(self, option: str) -> bool:
        return "default" not in self.options[option]
