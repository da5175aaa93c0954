"""The listing of one configured venue, for the CLI: which server to ask, and the answer as plain data."""

from threading import Event
from typing import Any

from adapters.absent import absence
from adapters.hosting import venue_settings
from adapters.listing import conflicts_of, matching, read
from adapters.runners import OWN
from engine.clock import SystemClock
from engine.config_models import Config
from engine.demo import endpoints_of
from engine.errors import Refused, Unreachable


def listing_of(config: Config, name: str, words: str) -> dict[str, Any]:
    """Return the venue's instruments that match, and every conflict. Blocks for the venue.

    Raises:
        Refused: the venue has no adapter to ask.
        Unreachable: it does not answer, or is simulated and no simulator runs.
    """
    venue = config.venues[name]
    why = absence(venue, config.mode)
    if why is not None:
        raise Refused(why.code, f"{name}: {why.text}")
    simulated = endpoints_of(config.state_dir) if config.mode == "demo" else {}
    if config.mode == "demo" and venue.is_simulated and not simulated:
        raise Unreachable(f"{name} is simulated, and no simulator runs: start the core first")
    settings = venue_settings(name, venue, simulated, config.state_dir, config.mode)
    if settings.adapter in OWN:
        text = f"{name} lists contracts, not pairs: docs/venues.md says how they are named"
        raise Refused("BAD_REQUEST", text)
    rows = read(settings, SystemClock(), Event())
    return {
        "schema": 1,
        "venue": name,
        "symbols": [row._asdict() for row in matching(rows, words)],
        "conflicts": conflicts_of(rows),
    }
