"""Phantoms as a source: an image is rendered when it is loaded; nothing is on disk."""

from dataclasses import dataclass
from typing import Literal

from synfundus.fundus.png import encode_png
from synfundus.fundus.sources.base import SourceListing, SourceRecord
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_labels, phantom_record


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """One phantom of a set."""

    config: PhantomConfig
    index: int

    def load(self) -> bytes:
        """Render the phantom and encode it as PNG."""
        return encode_png(phantom_record(self.config, self.index).image_HWC)


class PhantomSource(PhantomConfig):
    """A set of phantoms."""

    layout: Literal["phantom"]
    """Phantoms."""

    def listing(self) -> SourceListing:
        """List labels and patients; no phantom is rendered."""
        config = PhantomConfig(**self.model_dump(exclude={"layout"}))
        records: list[SourceRecord] = []
        for index in range(config.num_images):
            labels, patient_id = phantom_labels(config, index)
            records.append(SourceRecord(f"phantom/{index:07d}", PhantomImage(config, index), labels, patient_id))
        return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=True)
