"""Settings of `prepare`."""

from pydantic import Field

from synfundus.config import Config
from synfundus.fundus.preprocess import MAX_MEGAPIXELS, Prepared, Rejected, prepare_image
from synfundus.fundus.splits import SplitFractions


class PrepareConfig(Config):
    """How real images are prepared."""

    size_px: int = Field(ge=16, le=2048)
    """Side of the prepared images."""
    min_field_px: int | None = Field(default=None, ge=1)
    """Smallest diameter of the field of view in pixels of the original; smaller ones are rejected as too small. None:
    half of `size_px`, so that nothing is magnified more than twice."""
    max_megapixels: float = Field(default=MAX_MEGAPIXELS, gt=0, le=89)
    """Larger originals are rejected as decompression bombs."""
    split_fractions: SplitFractions = SplitFractions()
    """Expected part of the patients in each split."""
    split_seed: int = 0
    """Another seed, another split; the same seed splits any set of patients alike."""
    shard_rows: int = Field(default=256, ge=1, le=65536)
    """Originals behind one Parquet file; a task holds the prepared images of one."""

    @property
    def smallest_field_px(self) -> int:
        return self.size_px // 2 if self.min_field_px is None else self.min_field_px

    def prepare(self, data: bytes, *, is_fundus: bool = True) -> Prepared | Rejected:
        """One encoded image by these settings, as `preprocess.prepare_image` says; the same wherever it is done."""
        return prepare_image(
            data,
            self.size_px,
            min_field_px=self.smallest_field_px,
            max_megapixels=self.max_megapixels,
            is_fundus=is_fundus,
        )
