"""Export in the layout of SynFundus-1M: a folder of images, an annotation CSV and a generation-condition CSV.

    synfundus-1m/Fundus/000000042.png
    synfundus-1m/SynFundus-1M_annotation.csv   file_name and the 16 labels: annotations
    synfundus-1m/SynFundus-1M_gen_cond.csv     idx (the file's stem) and the 16 labels: conditions
    synfundus-1m/SHA256SUMS                    SHA-256 of every file above; `sha256sum -c SHA256SUMS` checks them

Public programs for SynFundus-1M read these column names, keys and folder names; the official headers were not
available. An empty cell is an unknown value.
"""

import csv
import io
from collections.abc import Sequence

import pyarrow as pa
from PIL import Image

from synfundus.labels import LABEL_NAMES
from synfundus.storage import Storage, Written

FOLDER = "synfundus-1m"
IMAGES = "Fundus"
ANNOTATION, CONDITION, SUMS = "SynFundus-1M_annotation.csv", "SynFundus-1M_gen_cond.csv", "SHA256SUMS"
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


class SynFundusExport:
    """Writer of the export: images as they come, the tables at the end. Its memory is a line of text per sample."""

    def __init__(self, storage: Storage, release_folder: str) -> None:
        self.storage, self.folder = storage, f"{release_folder}/{FOLDER}"
        self._annotations: dict[int, str] = {}
        """Lines of the annotation table by sample id."""
        self._conditions: dict[int, str] = {}
        """Lines of the condition table by sample id."""
        self._sums: list[str] = []

    def add(self, table: pa.Table) -> None:
        """Write the images of accepted rows, unchanged."""
        for row in table.to_pylist():
            data: bytes = row["image"]["bytes"]
            with Image.open(io.BytesIO(data)) as image:
                ending = ENDINGS[str(image.format)]
            stem = f"{row['sample_id']:09d}"
            self._sum(self.storage.write_once(f"{self.folder}/{IMAGES}/{stem}{ending}", data))
            labels = [row[f"annotation_{name}"] for name in LABEL_NAMES]
            self._annotations[row["sample_id"]] = _line([stem + ending, *labels])
            self._conditions[row["sample_id"]] = _line([stem, *(row[f"condition_{name}"] for name in LABEL_NAMES)])

    def _sum(self, written: Written) -> None:
        self._sums.append(f"{written.sha256}  {written.name.removeprefix(self.folder + '/')}\n")

    def close(self) -> list[Written]:
        """Write both tables and the checksums, and return these three.

        The release's manifest names them; the images, which are too many for it, are named by the checksums.
        """
        written = []
        for name, key, lines in ((ANNOTATION, "file_name", self._annotations), (CONDITION, "idx", self._conditions)):
            text = _line([key, *LABEL_NAMES]) + "".join(lines[sample_id] for sample_id in sorted(lines))
            written.append(self.storage.write_once(f"{self.folder}/{name}", text.encode()))
            self._sum(written[-1])
        sums = "".join(sorted(self._sums, key=lambda line: line.split("  ", 1)[1]))
        return [*written, self.storage.write_once(f"{self.folder}/{SUMS}", sums.encode())]


def _line(cells: Sequence[object]) -> str:
    """Return one line of CSV; None is an empty cell."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return sink.getvalue()
