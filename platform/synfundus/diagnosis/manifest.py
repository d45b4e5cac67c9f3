"""The manifest of an annotator below `annotators/<name>/`."""

from typing import Literal

from synfundus.digests import digest_of
from synfundus.storage import METRICS, Manifest

CONFIG, WEIGHTS, OUTPUTS, PREDICTIONS = "config.json", "model.safetensors", "outputs.json", "predictions.parquet"
CALIBRATION, HELD_OUT = "calibration.json", "held_out.parquet"


class AnnotatorManifest(Manifest):
    """Manifest of an annotator, trained here or external."""

    kind: Literal["annotator"] = "annotator"
    data: str
    """Folder of the prepared images on which the annotator was calibrated."""
    external: bool = False
    """Made elsewhere, and only calibrated and measured here."""

    @property
    def annotator_digest(self) -> str:
        """SHA-256 over everything that decides the probabilities, and over the predictions that thresholds come from.

        The operating points do not enter it, because they are settings of the study. The metrics do not enter it,
        because they follow from the rest.
        """
        return digest_of({name: entry.sha256 for name, entry in self.files.items() if name != METRICS})

    @property
    def sees_images(self) -> bool:
        """True for a network, which can annotate any image; False for a table of predictions."""
        return PREDICTIONS not in self.files
