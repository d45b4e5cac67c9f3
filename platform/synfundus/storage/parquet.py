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


def encode_parquet(table: pa.Table) -> bytes:
    """Return a table as one Parquet file, with its schema's metadata; equal tables give equal bytes.

    zstd shrinks columns of labels, and costs little on images, which are compressed already.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    return sink.getvalue()


def open_parquet(source: bytes | pa.NativeFile) -> pq.ParquetFile:
    """Return a reader of a file that Arrow opened (`Storage.open_input`), or of bytes, which are copied."""
    return pq.ParquetFile(pa.BufferReader(_copied(source)) if isinstance(source, bytes) else source)


def _copied(data: bytes) -> pa.Buffer:
    """Return a copy of `data` in Arrow's memory."""
    copy = pa.allocate_buffer(len(data))
    with pa.FixedSizeBufferWriter(copy) as writer:
        writer.write(data)
    return copy
