"""Settings of `prepare`."""

from pydantic import Field

from synfundus.config import Config
from synfundus.fundus.splits import SplitFractions
from synfundus.resources import PoolResources

MAX_MEGAPIXELS = 80
"""Default limit of an original. Pillow's own limit is 89."""


class PrepareConfig(Config):
    """Settings of the preparation of photographs."""

    size_px: int = Field(ge=16, le=2048)
    """Side of the prepared images in pixels."""
    min_field_px: int | None = Field(default=None, ge=1)
    """Smallest accepted diameter of the field of view, in pixels of the original. None: half of `size_px`, so that no
    image is magnified more than twice."""
    max_megapixels: float = Field(default=MAX_MEGAPIXELS, gt=0, le=89)
    """Largest accepted original; larger ones are rejected as decompression bombs."""
    split_fractions: SplitFractions = SplitFractions()
    """Expected fraction of the patients in each split. A fifth of `train` goes to the split `judge` if at least 750
    training patients have an expert's label."""
    split_seed: int = 0
    """Seed of the split. With the same seed a patient is always in the same split."""
    shard_rows: int = Field(default=256, ge=1, le=65536)
    """Originals behind one Parquet file. A worker holds the prepared images of one file in memory."""
    resources: PoolResources = PoolResources(pool_size=64)
    """Resources of the workers. `pool_size` is the largest number of Parquet files in work at once; Ray starts no more
    workers than it has CPUs."""

    @property
    def smallest_field_px(self) -> int:
        """Smallest accepted diameter of the field of view, in pixels of the original."""
        return self.size_px // 2 if self.min_field_px is None else self.min_field_px
