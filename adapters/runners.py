"""Which adapter a configuration asks for: the shared one over a venue's codec, or one of a venue's own.

Whatever is loaded is loaded where it is used: the core imports this and no adapter.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from adapters import registry
from adapters.registry import VenueConfig, dialect, exchange_id
from engine.clock import Clock
from engine.errors import ConfigError
from engine.messages.base import Message

if TYPE_CHECKING:
    from adapters.lanes import ThreadFactory  # which makes REST calls, with ccxt: not in the core


class Runner(Protocol):
    """An adapter behind the port, wherever it runs. `handle` never blocks."""

    @property
    def session(self) -> Any:
        """The session that is open now, None between two."""
        ...

    def start(self) -> None:
        """Open a new session. Returns at once."""
        ...

    def stop(self, deadline_s: float) -> bool:
        """End the session within the deadline; True if every thread has ended."""
        ...

    def shut(self) -> None:
        """Let nothing leave any more, from this moment on."""
        ...

    def handle(self, message: Message) -> None:
        """Take one command."""
        ...

    def unanswered(self) -> int:
        """Return how many submits have not been answered yet."""
        ...


class Own(NamedTuple):
    """An adapter that is a venue's own, because the venue is no order book or ccxt does not know it.

    Args:
        make: returns it for a configuration; imports it first.
        check: raises ConfigError for a configuration that it cannot serve.
        rests_orders: whether an order may rest at the venue, and so be there after the core is lost.
        keeps_names: whether the venue keeps our name of an order; else an order whose answer was lost
            is looked for by what it asked for.
    """

    make: Callable[..., Runner]
    check: Callable[[VenueConfig], None]
    rests_orders: bool
    keeps_names: bool


def _deriv(*args: Any, **kwargs: Any) -> Runner:
    from adapters.deriv import DerivAdapter  # noqa: PLC0415  loaded where it is used

    return DerivAdapter(*args, **kwargs)


def _check_deriv(config: VenueConfig) -> None:
    from adapters.deriv import check  # noqa: PLC0415

    check(config)


OWN: Final[Mapping[str, Own]] = {
    "deriv": Own(_deriv, _check_deriv, rests_orders=False, keeps_names=False),
}
NAMELESS: Final = frozenset(name for name, own in OWN.items() if not own.keeps_names)


def make_runner(
    config: VenueConfig,
    *,
    clock: Clock,
    rng: Random,
    deliver: Callable[[Message], None],
    threads: "ThreadFactory",
) -> Runner:
    """Return the adapter of a configuration. Raises ConfigError."""
    own = OWN.get(config.adapter)
    if own is not None:
        return own.make(config, clock=clock, rng=rng, deliver=deliver, threads=threads)
    from adapters.adapter import VenueAdapter  # noqa: PLC0415

    return VenueAdapter(config, clock=clock, rng=rng, deliver=deliver, threads=threads)


def check(config: VenueConfig) -> None:
    """Raise ConfigError for a configuration that its adapter cannot serve."""
    own = OWN.get(config.adapter)
    if own is not None:
        own.check(config)
        return
    dialect(config)
    for key, value in (("api", config.api), ("account_uid", config.account_uid)):
        if value:
            raise ConfigError(f"venues.{config.name}.{key}: {config.adapter} has no use for it")


def enforces_expiry(adapter: str) -> bool:
    """Tell whether the venue drops a request that arrives later than it allows."""
    return adapter not in OWN and registry.enforces_expiry(adapter)


def rests_orders(adapter: str) -> bool:
    """Tell whether an order of ours may rest at the venue."""
    own = OWN.get(adapter)
    return own is None or own.rests_orders


def preload(adapter: str) -> None:
    """Import what the adapter will need, ahead of time. Raises ConfigError for an unknown one."""
    if adapter not in OWN:  # which load what they need when they are made
        from adapters.ccxt_classes import exchange_class  # noqa: PLC0415  not in the core

        exchange_class(exchange_id(adapter))
