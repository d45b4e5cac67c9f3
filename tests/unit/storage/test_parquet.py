"""A process that reads Parquet may end at once, and no object of Python's is in the hands of Arrow's threads."""

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
"""Of processes that gave Arrow a `BytesIO`, 1 in 10 aborted."""
READ_AND_END = """
import gc, os, resource, sys
from pathlib import Path
from synfundus.samples.shards import decode_shard

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
gc.freeze()  # an ending fork then leaves most of its parent's memory alone
data, codes = Path(sys.argv[1]).read_bytes(), []
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        decode_shard(data)
        sys.exit()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(sum(code != 0 for code in codes))
"""


def test_a_process_may_end_right_after_it_has_read_a_shard(tmp_path: Path) -> None:
    """A race, run many times in forks of one process, which spares the imports."""
    rng = np.random.default_rng(0)
    samples = [Sample(i, rng.bytes(4000), {"is_amd": 1}, {"is_amd": 0}, np.full(NUM_VALUES, 0.5), i) for i in range(64)]
    path = tmp_path / "shard.parquet"
    path.write_bytes(encode_shard(samples))
    ended = subprocess.run(
        [sys.executable, "-c", READ_AND_END, str(path), str(READERS)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, f"{ended.returncode} of {READERS} ended badly: {ended.stderr}"


def test_arrow_holds_no_bytes_of_python() -> None:
    data = encode_shard([])
    holders = sys.getrefcount(data)
    file = open_parquet(data)
    assert sys.getrefcount(data) == holders
    assert file.metadata.num_rows == 0


def test_arrow_opens_the_files_of_a_root_itself(storage: Storage) -> None:
    storage.write_once("data/a.parquet", encode_shard([]))
    with storage.open_input("data/a.parquet") as source:
        assert isinstance(source, pa.NativeFile)
        assert not isinstance(source, pa.PythonFile)
        assert open_parquet(source).metadata.num_rows == 0
