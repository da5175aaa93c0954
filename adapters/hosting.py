"""How a venue's adapter is brought up, in a process of its own or in threads of the core.

The core imports this and none of the adapter's own imports: ccxt is loaded where it is used, in the
venue's process. What the process must know, its keys among it, goes to it through its private socket
only: never through its arguments, its environment or a file.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from adapters.absent import AbsentPort, absence
from adapters.codec import Secret
from adapters.configuration import Configuration, encode_configuration
from adapters.registry import VenueConfig
from adapters.runners import check, enforces_expiry, make_runner
from engine.clock import NS_PER_S, Clock
from engine.config_models import Config, Venue
from engine.faultpoints import VARIABLE
from engine.halt_file import halt_path
from engine.inlet import Inlet
from engine.journal_open import LOCK_NAME
from engine.supervision import Supervisor
from engine.venue_kinds import CCXT
from engine.venue_process import HostSettings, Joinable, VenueHost, inherited

DEPTH_MAX: Final = 200
MARKET_SHARE: Final = 0.8  # of the core's time, for the market data of all venues together
VENUE_FAULTS: Final = "venue."


def venue_settings(
    name: str, venue: Venue, simulated: Mapping[str, Any], state_dir: Path, mode: str
) -> VenueConfig:
    """Return what an adapter is told of a venue; `simulated` are the simulator's endpoints, if any.

    In testnet mode nothing that is not configured falls back to the venue itself.
    """
    urls, keys = venue.urls.given(), venue.credentials.given()
    if simulated and not urls:
        urls = _of_api(simulated["venues"][venue.protocol], venue.api)
        keys = keys or dict(simulated["accounts"][venue.protocol])
    return VenueConfig(
        name=name,
        adapter=venue.dialect,
        account=venue.account,
        symbols=tuple(venue.symbols),
        urls=urls,
        api_key=Secret(keys.get("api_key", "")),
        api_secret=Secret(keys.get("api_secret", "")),
        passphrase=Secret(keys.get("passphrase", "")),
        depth=min(venue.depth, DEPTH_MAX),
        publish_interval_ms=venue.publish_interval_ms,
        stale_after_ms=venue.stale_after_ms,
        quiet_after_s=venue.quiet_after_s,
        rules_every_s=venue.rules_every_s,
        maintenance=tuple(venue.maintenance),
        rate_limit_share=venue.rate_limit_share,
        order_road=venue.order_road,
        testnet=mode == "testnet",
        halt_file=halt_path(state_dir.absolute()),
        api=venue.api,
        account_uid=venue.account_uid,
    )


@dataclass(frozen=True)
class Surroundings:
    """What of the core every adapter is given."""

    clock: Clock
    rng: Random
    threads: Callable[[str, Callable[[], None]], Joinable]
    fault_point: Callable[[str], None]
    environ: Mapping[str, str]


class Venues:
    """The adapters of one run of the core, and the processes they live in."""

    def __init__(self, config: Config, venues: Mapping[str, Venue], at: Surroundings) -> None:
        self._config = config
        self._venues = venues
        self._at = at
        self._sessions = {name: count(1) for name in venues}
        found = {name: absence(venue, config.mode) for name, venue in venues.items()}
        self._absent = {name: why for name, why in found.items() if why is not None}
        self._hosts = {
            name: VenueHost(self._host_settings(name), at.clock, at.threads)
            for name, venue in venues.items()
            if venue.isolation == "process" and name not in self._absent
        }
        self.simulated: Mapping[str, Any] = {}  # the simulator's endpoints, once it is up
        self.runtime: Supervisor | None = None

    def prepare(self) -> None:
        """Start the processes ahead: they import while the journal is opened."""
        for host in self._hosts.values():
            host.prepare()

    def factory(self, name: str) -> Callable[[], Any]:
        """Return what makes the port of each session. Raises ConfigError for a wrong venue."""
        why = self._absent.get(name)
        if why is None:
            check(self._venue_config(name))  # a wrong configuration is told at once

        def make() -> Any:
            assert self.runtime is not None, "adapters are made by actors"
            session = next(self._sessions[name])
            reports = Inlet(self.runtime, name, session, self._at.fault_point)
            if why is not None:
                return AbsentPort(name, why, self._at.clock, reports)
            settings = self._venue_config(name)
            host = self._hosts.get(name)
            if host is not None:
                return host.port(encode_configuration(self._configuration(settings)), reports)
            rng = Random(self._at.rng.getrandbits(64))  # noqa: S311  jitter of reconnects
            return make_runner(
                settings, clock=self._at.clock, rng=rng, deliver=reports, threads=self._at.threads
            )

        return make

    def enforce_expiry(self) -> set[str]:
        """Return the dialects whose venue drops a request that arrives later than it allows."""
        present = {v.dialect for n, v in self._venues.items() if n not in self._absent}
        return {name for name in present if enforces_expiry(name)}

    def absent(self) -> list[str]:
        """Return the venues that have no adapter to talk to."""
        return sorted(self._absent)

    def view(self) -> dict[str, dict[str, Any]]:
        """Return pid, memory and restarts of each venue's process."""
        return {name: host.view() for name, host in self._hosts.items()}

    def stop(self, deadline_s: float) -> bool:
        """Have no process from here on; True if all ended by themselves within the deadline."""
        end_ns = self._at.clock.mono_ns() + int(deadline_s * NS_PER_S)
        clean = True
        for host in self._hosts.values():
            host.stop_soon(deadline_s)
        for host in self._hosts.values():
            left_s = (end_ns - self._at.clock.mono_ns()) / NS_PER_S
            clean = host.stop(max(0.0, left_s)) and clean
        return clean

    # --- private

    def _venue_config(self, name: str) -> VenueConfig:
        venue, config = self._venues[name], self._config
        settings = venue_settings(name, venue, self.simulated, config.state_dir, config.mode)
        return replace(settings, read_only=self._read_only(venue), is_live=config.mode == "live")

    # Live money goes by what nothing verifies only where somebody said so.
    def _read_only(self, venue: Venue) -> str:
        if self._config.mode != "live" or venue.adapter != CCXT or venue.trade_unverified:
            return ""
        return "its book is unverified: live orders need `trade_unverified: true` of this venue"

    def _configuration(self, settings: VenueConfig) -> Configuration:
        config = self._config
        return Configuration(
            venue=settings,
            instance=config.name,
            state_dir=str(config.state_dir.absolute()),
            core_pid=os.getpid(),
            core_lock=str(config.state_dir.absolute() / "journal" / LOCK_NAME),
            seed=self._at.rng.getrandbits(63),
            log_level=config.log.level,
            silent_s=config.supervision.venue_silent_s,
            market_share=MARKET_SHARE / len(self._venues),
            cancel_after_s=config.core_loss_cancel_after_s(),
            is_dedicated=self._venues[settings.name].dedicated_account,
        )

    def _host_settings(self, name: str) -> HostSettings:
        # A drill's point in a venue's process is for its first life: the next one has to live.
        asked = self._at.environ.get(VARIABLE, "")
        wanted = asked.startswith(f"{VENUE_FAULTS}{name}.") and self._config.mode == "demo"

        def environment(life: int) -> dict[str, str]:
            drill = {VARIABLE: asked.removeprefix(f"{VENUE_FAULTS}{name}.")}
            return inherited(self._at.environ) | (drill if wanted and life == 1 else {})

        command = [sys.executable, "-m", "adapters.host", name, self._venues[name].dialect]
        return HostSettings(name, command, environment, self._config.supervision.venue_silent_s)


# A simulated venue with two APIs names the addresses of the other one as `NAME@API`.
def _of_api(urls: Mapping[str, str], api: str) -> dict[str, str]:
    own = {key: url for key, url in urls.items() if "@" not in key}
    other = {
        key.partition("@")[0]: url for key, url in urls.items() if api and key.endswith(f"@{api}")
    }
    return own | other
