"""Base of every record that is stored as JSON: manifests, calibration, verification, metrics."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from synfundus.digests import canonical_json
from synfundus.errors import StorageError


class Metadata(BaseModel):
    """A stored record: frozen, unknown keys refused. It is written and read through this class only.

    A record that is a whole object has a field `version`; a record inside another has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    def to_json(self) -> bytes:
        """Return the canonical JSON of this record: equal records give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Self:
        """Parse the record that is stored as object `name`.

        Raises:
            StorageError: the object is not such a record, or another version of this program wrote it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise StorageError(
                f"{name} does not hold {cls.__name__} of this version ({place and f'{place}: '}{first['msg']});"
                " use the version of synfundus that wrote it, or make it again"
            ) from error
