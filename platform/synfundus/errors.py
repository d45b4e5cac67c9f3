"""The error tree. The text of every error is one line that fits a terminal."""


class SynfundusError(Exception):
    """Base of all errors that this package raises on purpose (exit code 1)."""


class WrongInputError(SynfundusError):
    """A mistake that the user can correct: a setting, a file, a column, a row (exit code 2).

    The text names the place, then what is wrong, then what to do.
    """


class WrongWeightsError(WrongInputError):
    """A file of initial weights cannot be read, on this machine or now."""


class StorageError(SynfundusError):
    """An object cannot be written or read: a full disk, a lost connection, a digest that differs."""


class FullDiskError(StorageError):
    """The disk is full. The same command continues after some space is freed."""


class AlreadyExistsError(StorageError):
    """A write-once object exists with other content."""


class TrainingDivergedError(SynfundusError):
    """A loss or gradient is not finite, or has left its range. The text names the step."""
