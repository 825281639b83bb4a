"""Wheels that carry programs."""

from importlib.util import find_spec
from pathlib import Path


def package_directory(name: str) -> Path | None:
    """The folder of an installed package, None when it is not; the package itself is not imported."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
