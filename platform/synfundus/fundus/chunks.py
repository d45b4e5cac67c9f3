"""The listing cut into chunks, and the location of their staged tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from synfundus.fundus.sources import SourceRecord
from synfundus.fundus.staging import Staged, read_outcomes, read_pngs
from synfundus.storage import Storage


@dataclass(frozen=True)
class Chunks:
    """Runs of `rows` records each, the last one may be shorter."""

    storage: Storage
    records: Sequence[SourceRecord]
    """All records, sorted by name."""
    rows: int
    """Records per chunk."""
    folder: str
    """Folder of the staged tables."""

    def __len__(self) -> int:
        return math.ceil(len(self.records) / self.rows)

    def span(self, chunk: int) -> range:
        """Return the indices of the records of a chunk."""
        return range(chunk * self.rows, min((chunk + 1) * self.rows, len(self.records)))

    def staged_name(self, chunk: int) -> str:
        """Return the name of the staged table of a chunk."""
        return f"{self.folder}/chunk-{chunk:05d}.parquet"

    def missing(self) -> list[int]:
        """Return the chunks that have no staged table yet."""
        staged = set(self.storage.names(self.folder))
        return [chunk for chunk in range(len(self)) if self.staged_name(chunk) not in staged]

    def outcomes(self) -> list[Staged]:
        """Return the outcome of pass 1 for every record."""
        outcomes = []
        for chunk in range(len(self)):
            with self.storage.open_input(self.staged_name(chunk)) as file:
                outcomes += read_outcomes(file)
        return outcomes

    def pngs(self, indices: Sequence[int]) -> dict[int, bytes | None]:
        """Return index -> PNG bytes of some images, None for an image that was not decoded."""
        pngs: dict[int, bytes | None] = {}
        for chunk in sorted({index // self.rows for index in indices}):
            in_chunk = [index for index in indices if index // self.rows == chunk]
            with self.storage.open_input(self.staged_name(chunk)) as file:
                found = read_pngs(file, [index - self.span(chunk).start for index in in_chunk])
            pngs.update(zip(in_chunk, found, strict=True))
        return pngs
