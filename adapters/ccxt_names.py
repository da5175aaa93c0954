"""Whether the installed ccxt has a class of a name, without importing any of it: the core asks this."""

from importlib.util import find_spec
from pathlib import Path


def is_known(exchange_id: str) -> bool:
    """Tell whether there is a class of this name."""
    spec = find_spec("ccxt")
    assert spec is not None, "ccxt is installed with this program"
    places = spec.submodule_search_locations or ()
    return exchange_id.isidentifier() and any(
        Path(place, f"{exchange_id}.py").is_file() for place in places
    )
