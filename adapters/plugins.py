"""Venues that others write: by entry point (group `xcore.venues`) or as `module:NAME` in the configuration.

What is found must be an `Adapter`, as the table in adapters/registry.py has them. It is code that whoever
writes the configuration trusts: it runs in the venue's process, and the core imports it once to check it.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.venue_kinds import ENTRY_POINTS, MODULE


@cache
def plugged_in(name: str, kind: type) -> Any:
    """Return the adapter of a plug-in, None where no package offers the name.

    Raises:
        ConfigError: it is named, and cannot be loaded or is no adapter; the text says why.
    """
    found = _by_module(name) if MODULE.match(name) else _by_entry_point(name)
    if found is not None and not isinstance(found, kind):
        raise ConfigError(
            f"{name} is a {type(found).__name__}, and should be an adapters.registry.Adapter"
        )
    return found


# The folder that the program was started in counts, as it does for `python -m`.
def _by_module(name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(import_module(module), attribute)
    except AttributeError:
        raise ConfigError(f"{module} has no {attribute}") from None
    except Exception as error:  # noqa: BLE001  somebody's code, at its import
        raise ConfigError(f"{module} cannot be imported: {type(error).__name__}: {error}") from None


def _by_entry_point(name: str) -> Any:
    for found in entry_points(group=ENTRY_POINTS, name=name):
        try:
            return found.load()
        except Exception as error:  # noqa: BLE001  somebody's code, at its import
            text = f"{found.value} cannot be loaded: {type(error).__name__}: {error}"
            raise ConfigError(f"{name}: {text}") from None
    return None
