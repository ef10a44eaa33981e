"""A bucket of an object store that lies in memory."""

import pytest


@pytest.fixture
def bucket():
    """A bucket in memory under a gs:// name."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    for name in ("gs", "gcs"):
        fsspec.register_implementation(name, MemoryFileSystem, clobber=True)
    MemoryFileSystem.store.clear()
    yield "gs://bucket/run"
    MemoryFileSystem.store.clear()
