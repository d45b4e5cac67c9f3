"""Settings models: unknown and moved keys are refused with the key that is meant."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from synfundus.config import Config


class Section(Config):
    """A section of a study."""

    moved: ClassVar[dict[str, str]] = {"use_gpu": "samples.resources.num_gpus"}

    num_samples: int = 1
    """Number of samples."""


def test_a_moved_key_is_refused_with_its_new_place() -> None:
    with pytest.raises(ValidationError, match=r"use_gpu moved to samples\.resources\.num_gpus"):
        Section.model_validate({"use_gpu": True})


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ValidationError, match="unknown key 'num_sample'; did you mean 'num_samples'"):
        Section.model_validate({"num_sample": 3})
    with pytest.raises(ValidationError, match="unknown key 'colour'; known keys: num_samples"):
        Section.model_validate({"colour": 3})
