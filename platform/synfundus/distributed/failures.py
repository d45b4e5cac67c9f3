"""Our own errors on Ray's workers come back as results: Ray hands on an error as a long text, without its kind.

A column `failure` beside a result's others holds the pickled error, or nothing.
"""

import pickle

from synfundus.errors import SynfundusError

COLUMN = "failure"
NONE = b""


def pack(error: SynfundusError) -> bytes:
    """The error as a value of the column."""
    return pickle.dumps(error)


def raise_packed(failure: bytes) -> None:
    """Raise what a worker packed; nothing if it packed nothing."""
    if failure:
        error = pickle.loads(failure)  # noqa: S301  made by this program, in memory
        assert isinstance(error, SynfundusError)
        raise error
