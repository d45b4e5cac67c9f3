"""A process may exit right after it has read Parquet, because Arrow's threads hold no memory of Python's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from synfundus.labels import NUM_VALUES
from synfundus.samples.shards import Sample, encode_shard
from synfundus.storage import Storage
from synfundus.storage.parquet import open_parquet

READERS = 30
"""Enough to see the defect: of processes that gave Arrow a `BytesIO`, 1 in 10 aborted."""
READ_AND_END = """
import gc, os, resource, sys
from pathlib import Path
from synfundus.samples.shards import decode_shard

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
gc.freeze()  # so that a fork does not touch most of its parent's memory when it exits
data, codes = Path(sys.argv[1]).read_bytes(), []
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        decode_shard(data)
        sys.exit()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(sum(code != 0 for code in codes))
"""


def test_a_process_may_exit_right_after_it_has_read_a_shard(tmp_path: Path) -> None:
    """The defect is a race, so many forks of one process read; forks need no imports."""
    rng = np.random.default_rng(0)
    samples = [Sample(i, rng.bytes(4000), {"is_amd": 1}, {"is_amd": 0}, np.full(NUM_VALUES, 0.5), i) for i in range(64)]
    path = tmp_path / "shard.parquet"
    path.write_bytes(encode_shard(samples))
    ended = subprocess.run(
        [sys.executable, "-c", READ_AND_END, str(path), str(READERS)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, f"{ended.returncode} of {READERS} processes failed: {ended.stderr}"


def test_arrow_copies_bytes_into_its_own_memory() -> None:
    data = encode_shard([])
    holders = sys.getrefcount(data)
    file = open_parquet(data)
    assert sys.getrefcount(data) == holders
    assert file.metadata.num_rows == 0


def test_arrow_itself_opens_the_files_of_a_root(storage: Storage) -> None:
    storage.write_once("data/a.parquet", encode_shard([]))
    with storage.open_input("data/a.parquet") as source:
        assert isinstance(source, pa.NativeFile)
        assert not isinstance(source, pa.PythonFile)
        assert open_parquet(source).metadata.num_rows == 0
