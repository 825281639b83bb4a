"""Locations of installed wheels that contain programs."""

from importlib.util import find_spec
from pathlib import Path


def package_directory(name: str) -> Path | None:
    """Return the folder of a package without importing it, or None if it is not installed."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
