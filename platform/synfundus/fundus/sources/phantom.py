"""The phantom as a source: drawn when it is loaded, nothing on disk."""

from dataclasses import dataclass
from typing import Literal

from synfundus.fundus.png import encode_png
from synfundus.fundus.sources.base import SourceListing, SourceRecord
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_labels, phantom_record


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """One phantom, by its place in a set."""

    config: PhantomConfig
    index: int

    def load(self) -> bytes:
        """Draw it and encode it as PNG."""
        return encode_png(phantom_record(self.config, self.index).image_HWC)


class PhantomSource(PhantomConfig):
    """Phantoms, with the settings of `fundus.phantom.PhantomConfig`."""

    layout: Literal["phantom"]
    """The procedural phantom."""

    def listing(self) -> SourceListing:
        """Labels and patients; no phantom is drawn."""
        config = PhantomConfig(**self.model_dump(exclude={"layout"}))
        records: list[SourceRecord] = []
        for index in range(config.num_images):
            labels, patient_id = phantom_labels(config, index)
            records.append(SourceRecord(f"phantom/{index:07d}", PhantomImage(config, index), labels, patient_id))
        return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=True)
