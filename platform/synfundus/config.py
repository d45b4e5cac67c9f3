"""Base of every settings model: frozen, unknown keys refused with the nearest known name."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, model_validator

from synfundus.errors import WrongInputError

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Form of the name of a study or dataset, which names folders below the root."""


class Config(BaseModel):
    """Settings of one component, in the file `config.py` of its package. Every field has a docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    moved: ClassVar[dict[str, str]] = {}
    """Former keys of this section, each with its new place in the study."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key in cls.moved:
                    raise ValueError(f"{key} moved to {cls.moved[key]}")
                if key not in cls.model_fields:
                    close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    known = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown key {key!r}; {known}")
        return values


@contextmanager
def refusing_value() -> Iterator[None]:
    """Turn a WrongInputError into the ValueError by which a validator tells pydantic what is wrong."""
    try:
        yield
    except WrongInputError as error:
        raise ValueError(str(error)) from None
