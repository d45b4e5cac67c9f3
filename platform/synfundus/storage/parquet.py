"""Write Parquet files, and open them so that a process may exit right after it has read them.

Arrow reads ahead and decodes on its own threads, which free their buffers shortly after the reader has its result. If
a buffer belongs to Python, even as bytes that Arrow only points at, the thread needs the GIL to free it. Python below
3.14 kills a thread that requests the GIL while the interpreter exits. Inside a C++ destructor this aborts the process,
after all work is done: "terminate called without an active exception" (apache/arrow#34314, #49942). So Arrow gets no
memory of Python's: it opens files itself, and bytes are copied into its own memory.
"""

import io

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 256


def encode_parquet(table: pa.Table, plain: str | None = None) -> bytes:
    """Return a table as one Parquet file, with its schema's metadata; equal tables give equal bytes.

    zstd shrinks columns of labels, and costs little on images, which are compressed already.

    Args:
        plain: path of a column of bytes that is neither compressed nor dictionary-encoded, so that each of its values
            is one run of bytes in the file.
    """
    sink = io.BytesIO()
    encoded = [path for path in _column_paths(table.schema) if path != plain]
    compression = dict.fromkeys(encoded, "zstd") | ({} if plain is None else {plain: "none"})
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression=compression,
        use_dictionary=encoded,
        write_statistics=encoded,
    )
    return sink.getvalue()


def _column_paths(schema: pa.Schema) -> list[str]:
    """Return the paths of the columns of Parquet, such as `image.bytes`."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(number).path for number in range(len(columns))]


def open_parquet(source: bytes | pa.NativeFile) -> pq.ParquetFile:
    """Return a reader of a file that Arrow opened (`Storage.open_input`), or of bytes, which are copied."""
    return pq.ParquetFile(pa.BufferReader(_copied(source)) if isinstance(source, bytes) else source)


def _copied(data: bytes) -> pa.Buffer:
    """Return a copy of `data` in Arrow's memory."""
    copy = pa.allocate_buffer(len(data))
    with pa.FixedSizeBufferWriter(copy) as writer:
        writer.write(data)
    return copy
