"""REST through ccxt's unified calls, for any class it has: the same evidence, the same last gate.

The markets are loaded by one worker and shared, so that an order is one request and nothing before it.
Numbers stay texts: ccxt is told to make `str` of them.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.ccxt_rest import CcxtRest
from adapters.codec import Credentials, RestCall, RestCodec
from adapters.generic_rest import GenericRest

# What keeps a class from calling anything that was not asked for, where its defaults would.
CLASS_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bybit": {"defaultType": "spot"},
    "kucoin": {"fetchMarkets": {"types": ["spot"], "fetchTickersFees": False}},
}
# ccxt's binance tells spot from futures by "/stream" in the address.
STREAM_PATHS: Final[Mapping[tuple[str, str], str]] = {("binance", "/ws"): "/stream/ws"}


class GenericClient(CcxtRest):
    """One worker's client. Not thread safe; blocks up to the timeouts."""

    def __init__(self, codec: GenericRest, *args: Any, **settings: Any) -> None:
        self._codec = codec
        super().__init__(codec.exchange_id, *args, **settings)
        self._ccxt.number = str
        self._ccxt.options.update(CLASS_OPTIONS.get(codec.exchange_id, {}))
        self._ccxt.has["fetchCurrencies"] = False  # needs a key, or hundreds of requests

    def aim(self, exchange_id: str, url: str) -> None:
        """Point every address of the class at another server that speaks its protocol."""
        if url:
            redirect(self._ccxt.urls["api"], exchange_id, {"rest": url})

    def invoke(self, call: RestCall) -> Any:
        """Make a unified call with the markets that the first worker loaded."""
        if self._ccxt.markets is None and self._codec.markets:
            self._ccxt.set_markets(list(self._codec.markets.values()))
        if not call.is_unified:
            return super().invoke(call)
        return getattr(self._ccxt, call.method)(**call.params)


def client_of(codec: RestCodec, url: str, credentials: Credentials, **settings: Any) -> CcxtRest:
    """Return one thread's client of a venue, unified or raw as its dialect speaks."""
    if isinstance(codec, GenericRest):
        return GenericClient(codec, url, credentials, **settings)
    return CcxtRest(codec.exchange_id, url, credentials, **settings)


def redirect(
    addresses: MutableMapping[str, Any], exchange_id: str, urls: Mapping[str, str]
) -> None:
    """Replace the server of each address, REST by `rest`, WebSockets by `public_ws`; paths stay."""
    for holder, key, address in list(_addresses(addresses)):
        is_rest = address.startswith("http")
        server = urls.get("rest" if is_rest else "public_ws")
        if not server and urls:  # never the venue's own beside another server
            other = next(iter(urls.values()))
            server = other.replace("ws", "http", 1) if is_rest else other.replace("http", "ws", 1)
        if server:
            parts, path = urlsplit(server), urlsplit(address).path
            path = STREAM_PATHS.get((exchange_id, path), path)
            holder[key] = f"{parts.scheme}://{parts.netloc}{path}"


def _addresses(
    addresses: MutableMapping[str, Any],
) -> Iterator[tuple[MutableMapping[str, Any], str, str]]:
    for key, value in addresses.items():
        if isinstance(value, str):
            yield addresses, key, value
        elif isinstance(value, dict):
            yield from _addresses(value)
