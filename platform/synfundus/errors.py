"""The error tree. A user's mistake is a `WrongInputError`: one line saying what, where and what to do (exit code 2)."""


class SynfundusError(Exception):
    """Anything that this package raises on purpose; its text is one line fit for a terminal (exit code 1)."""


class WrongInputError(SynfundusError):
    """The user can mend it: a setting, a file, a column, a row. The text names it and the remedy (exit code 2)."""


class StorageError(SynfundusError):
    """An object could not be written or read: a full disk, a lost connection, a hash that differs."""


class FullDiskError(StorageError):
    """There is no room left; the same command goes on once some is freed."""


class AlreadyExistsError(StorageError):
    """A write-once object exists with other content."""


class TrainingDivergedError(SynfundusError):
    """A loss or gradient is no longer finite, or has left its range; the text says at which step."""
