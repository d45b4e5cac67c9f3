"""Export in the layout of SynFundus-1M: a folder of images, an annotation CSV and a generation-condition CSV.

    synfundus-1m/Fundus/000000042.png
    synfundus-1m/SynFundus-1M_annotation.csv   file_name and the 16 labels: what the annotator saw
    synfundus-1m/SynFundus-1M_gen_cond.csv     idx (the file's stem) and the 16 labels: what was asked
    synfundus-1m/SHA256SUMS                    of every file above; `sha256sum -c SHA256SUMS` checks them

Column names, the two keys and the folder's name are those that public programs for SynFundus-1M read; the official
headers were not at hand. An empty cell is an unknown value.
"""

import csv
import io

import pyarrow as pa
from PIL import Image

from synfundus.labels import LABEL_NAMES
from synfundus.storage import Storage, Written

FOLDER = "synfundus-1m"
IMAGES = "Fundus"
ANNOTATION, CONDITION, SUMS = "SynFundus-1M_annotation.csv", "SynFundus-1M_gen_cond.csv", "SHA256SUMS"
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


class SynFundusExport:
    """Writes images as they come and the tables at the end; holds a line of text per sample, no pixels."""

    def __init__(self, storage: Storage, release_folder: str) -> None:
        self.storage, self.folder = storage, f"{release_folder}/{FOLDER}"
        self._rows: list[tuple[int, str, str]] = []
        """(sample id, line of the annotation table, line of the condition table)"""
        self._sums: list[str] = []

    def add(self, table: pa.Table) -> None:
        """Write the images of accepted rows, unchanged."""
        for row in table.to_pylist():
            data: bytes = row["image"]["bytes"]
            with Image.open(io.BytesIO(data)) as image:
                ending = ENDINGS[str(image.format)]
            stem = f"{row['sample_id']:09d}"
            self._sum(self.storage.write_once(f"{self.folder}/{IMAGES}/{stem}{ending}", data))
            seen = _line([stem + ending, *(row[f"annotation_{name}"] for name in LABEL_NAMES)])
            asked = _line([stem, *(row[f"condition_{name}"] for name in LABEL_NAMES)])
            self._rows.append((row["sample_id"], seen, asked))

    def _sum(self, written: Written) -> None:
        self._sums.append(f"{written.sha256}  {written.name.removeprefix(self.folder + '/')}\n")

    def close(self) -> list[Written]:
        """Write both tables and the checksums. The images are named by the checksums, these three by the manifest."""
        self._rows.sort()
        tables = {ANNOTATION: ("file_name", 1), CONDITION: ("idx", 2)}
        written = []
        for name, (key, place) in tables.items():
            text = _line([key, *LABEL_NAMES]) + "".join(str(row[place]) for row in self._rows)
            written.append(self.storage.write_once(f"{self.folder}/{name}", text.encode()))
            self._sum(written[-1])
        sums = "".join(sorted(self._sums, key=lambda line: line.split("  ", 1)[1]))
        return [*written, self.storage.write_once(f"{self.folder}/{SUMS}", sums.encode())]


def _line(cells: list[object]) -> str:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return sink.getvalue()
