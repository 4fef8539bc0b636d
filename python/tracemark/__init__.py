"""tracemark links every MLflow trace of an app to the exact code that made it; see docs/python.md.

Under `tracemark exec` nothing of this is needed. Importing costs nothing: MLflow and all the rest are imported when used.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from tracemark._api import Unavailable, Version, activate, current, follow

__all__ = ["Unavailable", "Version", "activate", "current", "follow"]


def __dir__() -> "list[str]":
    return [*__all__, "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("tracemark")
    if name in __all__:
        from tracemark import _api

        return getattr(_api, name)
    raise AttributeError(f"module 'tracemark' has no attribute {name!r}")
