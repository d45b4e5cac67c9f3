"""A storage that fails at an object a test names, in a module that Ray's workers can import."""

from dataclasses import dataclass

from synfundus.errors import StorageError
from synfundus.storage import LocalStorage, Written


@dataclass(frozen=True)
class FullDisk(LocalStorage):
    """A disk that is full when an object of a certain name is written."""

    full_at: str = ""
    """End of that object's name."""

    def write_once(self, name: str, data: bytes) -> Written:
        self._check(name)
        return super().write_once(name, data)

    def replace(self, name: str, data: bytes) -> None:
        self._check(name)
        super().replace(name, data)

    def _check(self, name: str) -> None:
        if name.endswith(self.full_at):
            raise StorageError(f"disk full while writing {name}")
