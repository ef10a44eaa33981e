"""Files that only one can create, on local and network disks and in object stores."""

import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

from cdcd_jax.errors import UsageError


def at(directory: Any, name: str) -> "LocalFile | StoredFile":
    """The file of that name in a directory, a path or a URL."""
    place = os.fspath(directory)
    if "://" in place:
        return StoredFile(f"{place.rstrip('/')}/{name}")
    return LocalFile(Path(place).absolute() / name)


class LocalFile:
    """On a disk, which may be a network's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def beside(self, ending: str) -> "LocalFile":
        """Another one, whose name is longer."""
        return LocalFile(self._path.with_name(self._path.name + ending))

    def make_folder(self) -> list[Path]:
        """Makes the folder that it lies in; which were made, the innermost first."""
        folder = self._path.parent
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        return missing

    def create(self, text: bytes) -> bool:
        """False if it is there already. With its text, it comes at once."""
        with self._written(text) as temporary:
            try:
                os.link(temporary, self._path)
            except FileExistsError:
                # a network's disk may have made it, lost its answer, and tried again
                return temporary.stat().st_nlink == 2
            except OSError:  # no hard links here
                return self._create_without_links(text)
            return True

    def _create_without_links(self, text: bytes) -> bool:
        try:
            with self._path.open("xb") as file:
                file.write(text)
        except FileExistsError:
            return False
        return True

    def replace(self, text: bytes) -> None:
        """Another text for a file that is there."""
        with self._written(text) as temporary:
            os.replace(temporary, self._path)

    def read(self) -> tuple[bytes, float] | None:
        """Its text and how many seconds ago it was touched; None if it is not there."""
        try:
            text, touched = self._path.read_bytes(), self._path.stat().st_mtime
        except FileNotFoundError:
            return None
        return text, self._now() - touched

    def _now(self) -> float:
        """By the clock that gives times to files: a server's may differ from ours."""
        with contextlib.suppress(OSError), self._written(b"") as temporary:
            return temporary.stat().st_mtime
        return time.time()

    def touch(self) -> None:
        """Says that somebody still needs it."""
        os.utime(self._path)

    def remove(self) -> None:
        """Also if it is not there."""
        self._path.unlink(missing_ok=True)

    def sweep(self, age: float) -> None:
        """Removes what a killed process left half made, so many seconds ago or more."""
        pattern = f"{self._path.name}.{'[0-9a-f]' * 32}"
        for path in self._path.parent.glob(pattern):
            with contextlib.suppress(OSError):
                if self._now() - path.stat().st_mtime >= age:
                    path.unlink()

    @contextlib.contextmanager
    def _written(self, text: bytes) -> Any:
        temporary = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(text)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


class StoredFile:
    """In an object store, by fsspec, which can ask for an object to be new."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise UsageError(
                f"Found no way to write to {url} ({error}); expected the extra gcs. "
                "Install it with pip install 'cdcd_jax[gcs]', or choose a local place."
            ) from error
        self._url = url
        self._store, self._path = fsspec.core.url_to_fs(url, use_listings_cache=False)

    def __str__(self) -> str:
        return self._url

    def beside(self, ending: str) -> "StoredFile":
        """Another one, whose name is longer."""
        return StoredFile(self._url + ending)

    def make_folder(self) -> list[Path]:
        """Nothing: there are none."""
        return []

    def create(self, text: bytes) -> bool:
        """False if it is there already."""
        try:
            self._store.pipe_file(self._path, text, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, text: bytes) -> None:
        """Another text for a file that is there."""
        self._store.pipe_file(self._path, text)

    def read(self) -> tuple[bytes, float] | None:
        """Its text and how many seconds ago it was touched; None if it is not there."""
        try:
            text = self._store.cat_file(self._path)
            touched = self._store.modified(self._path).timestamp()
        except FileNotFoundError:
            return None
        return text, time.time() - touched

    def touch(self) -> None:
        """Says that somebody still needs it."""
        self.replace(self._store.cat_file(self._path))

    def sweep(self, age: float) -> None:
        """Nothing: an object comes whole or not at all."""

    def remove(self) -> None:
        """Also if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self._store.rm_file(self._path)
