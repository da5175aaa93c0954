"""What is particular to each simulated venue before it has a wire protocol: fees, ids, rules, paths.

One row a venue. Its instruments are in `instruments.py`; its dialect is put together in `server.py`.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

from simulator.coinbase_ids import PORTFOLIOS, key_name_of, private_key_of, uuid_of
from simulator.fees import Fees


@dataclass(frozen=True, slots=True)
class Traits:
    """One venue's own ways.

    `ws_paths`: of public, private and trade streams; None where there is none, or REST tells its address.
    `client_id_forever`: an id is never free again; else when its order has ended.
    `post_only_expires`: a post-only order that would take is accepted and canceled; else refused.
    """

    fees: Fees
    first_uid: int
    ws_paths: tuple[str | None, str | None, str | None]
    client_id_forever: bool = False
    post_only_expires: bool = False
    has_passphrase: bool = False
    funds: tuple[tuple[str, int], ...] = (("BTC", 10), ("ETH", 100), ("USDT", 1_000_000))
    # Where another of its APIs is served: dialect, then the paths of its public and private streams.
    other_paths: tuple[str, str, str] | None = None
    key: Callable[[str], str] = str  # of a login, in the form that the venue gives keys
    secret: Callable[[str], str] = str
    told_uid: Callable[[int], str | None] = str  # as calls tell it; None where none does


TRAITS: dict[str, Traits] = {
    "binance": Traits(
        Fees(maker_bps=10, taker_bps=10, step=10**4),
        first_uid=354_937_868,
        ws_paths=("/stream", "/ws-api/v3", "/ws-api/v3"),
    ),
    "bybit": Traits(
        Fees(maker_bps=10, taker_bps=10, step=1),
        first_uid=24_617_703,
        ws_paths=("/v5/public/spot", "/v5/private", "/v5/trade"),
        client_id_forever=True,
        post_only_expires=True,
    ),
    "kucoin": Traits(
        Fees(maker_bps=10, taker_bps=10, step=1, in_quote=True),
        first_uid=165_111_215,
        ws_paths=(None, None, None),  # REST tells the address, with a token
        client_id_forever=True,
        post_only_expires=True,
        has_passphrase=True,
    ),
    "coinbase": Traits(
        Fees(maker_bps=15, taker_bps=25, step=10**4, in_quote=True),  # of an account with volume
        first_uid=2_000_000_001,
        ws_paths=("/ws", "/ws/user", None),
        client_id_forever=True,
        key=key_name_of,
        secret=private_key_of,
        told_uid=lambda uid: uuid_of(PORTFOLIOS, uid),
    ),
    "kraken": Traits(
        Fees(maker_bps=14, taker_bps=24, step=10**4, in_quote=True),  # of an account with volume
        first_uid=1_000_000_001,
        ws_paths=("/v2", "/auth/v2", None),
        post_only_expires=True,
        secret=lambda text: b64encode(text.encode()).decode(),
        told_uid=lambda _: None,
    ),
    "okx": Traits(
        Fees(maker_bps=8, taker_bps=10, step=1),
        first_uid=44_705_892_343_619_584,
        ws_paths=("/ws/v5/public", "/ws/v5/private", "/ws/v5/private"),
        client_id_forever=True,
        post_only_expires=True,
        has_passphrase=True,
    ),
    "deriv": Traits(
        Fees(maker_bps=0, taker_bps=0, step=1),
        first_uid=9_000_001,
        ws_paths=("/trading/v1/options/ws/public", None, None),
        funds=(("USD", 10_000),),
        other_paths=("v3", "/websockets/v3", "/websockets/v3"),
    ),
}
