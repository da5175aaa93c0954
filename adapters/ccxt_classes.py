"""ccxt's classes one by one: the package's own import loads a hundred venues that are not used.

Each venue's process pays for what it imports, 30 MB for all of ccxt beside its one class. While a class is
loaded, a bare package of the same name and place stands in for ccxt, so that its `__init__` does not run;
afterwards `import ccxt` works as ever and finds what was loaded here.
"""

import importlib
import sys
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "ccxt"
_lock: Final = Lock()


def _load(name: str) -> ModuleType:
    with _lock:
        if PACKAGE in sys.modules:
            return importlib.import_module(f"{PACKAGE}.{name}")
        spec = find_spec(PACKAGE)
        assert spec is not None, "ccxt is installed with this program"
        stand_in = ModuleType(PACKAGE)
        stand_in.__path__ = list(spec.submodule_search_locations or ())
        stand_in.__spec__ = spec
        sys.modules[PACKAGE] = stand_in
        try:
            return importlib.import_module(f"{PACKAGE}.{name}")
        finally:
            del sys.modules[PACKAGE]


def exchange_class(exchange_id: str) -> Any:
    """Return ccxt's REST class of a venue. Blocks for its import the first time."""
    return getattr(_load(exchange_id), exchange_id)


def streams_class(exchange_id: str) -> Any:
    """Return ccxt.pro's class of a venue, or the one without streams where there is no such.

    Imports all of ccxt: the streams' classes name each other by the package.
    """
    pro = importlib.import_module("ccxt.pro")
    found = getattr(pro, exchange_id, None)
    return found or getattr(importlib.import_module("ccxt.async_support"), exchange_id)


BaseError: Final[Any] = _load("base.errors").BaseError
