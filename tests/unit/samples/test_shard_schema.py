"""Columns of the samples' shards."""

import pyarrow as pa

from synfundus.samples import shards


def test_an_arrow_before_26_reads_nulls_of_every_column() -> None:
    # It cannot read a null in a list of fixed size (apache/arrow#35692), so one row without a grade loses the file.
    assert not [field.name for field in shards.SCHEMA if pa.types.is_fixed_size_list(field.type)]
