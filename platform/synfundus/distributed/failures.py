"""Our own errors on Ray Train's workers come back as results: Ray hands on an error as text, without its kind.

An entry `failure` of the facts that a worker returns holds the pickled error, or nothing.
"""

import pickle

from synfundus.errors import SynfundusError

KEY = "failure"
NONE = b""


def pack(error: SynfundusError) -> bytes:
    """The error as a value of the entry."""
    return pickle.dumps(error)


def raise_packed(failure: bytes) -> None:
    """Raise what a worker packed; nothing if it packed nothing."""
    if failure:
        error = pickle.loads(failure)  # noqa: S301  made by this program, in memory
        assert isinstance(error, SynfundusError)
        raise error
