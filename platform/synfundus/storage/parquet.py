"""Parquet files opened so that a process may end right after it has read.

Arrow reads ahead and decodes on threads of its own, and those free what they held a little after the reader has its
answer. Where that belongs to Python, even if only as bytes that Arrow points at, a thread needs the GIL to free it; a
Python below 3.14 that is ending kills each thread that asks for the GIL, and as this one is in a C++ destructor, the
process aborts with its work done: "terminate called without an active exception" (apache/arrow#34314, #49942). So
Arrow is given nothing of Python's: files that it opens itself, and bytes in its own memory.
"""

import pyarrow as pa
import pyarrow.parquet as pq


def open_parquet(source: bytes | pa.NativeFile) -> pq.ParquetFile:
    """A reader of a file that Arrow has opened (`Storage.open_input`), or of bytes, which are copied."""
    return pq.ParquetFile(pa.BufferReader(_own_copy(source)) if isinstance(source, bytes) else source)


def _own_copy(data: bytes) -> pa.Buffer:
    copy = pa.allocate_buffer(len(data))
    with pa.FixedSizeBufferWriter(copy) as writer:
        writer.write(data)
    return copy
