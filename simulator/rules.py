"""What the venues choose of the one engine and the one account store: fees, ids, grids. A row a venue.

The wire protocols are rows of `simulator/dialects.py`; a new venue adds a row to each.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.fees import Fees
from simulator.instruments import GRIDS, Instrument


@dataclass(frozen=True, slots=True)
class Rules:
    """One venue's rules that are not words.

    Args:
        fees: its rates, and in which asset they are taken.
        first_uid: its id of the first account.
        instruments: what is traded, by symbol.
        is_client_id_unique_forever: whether a closed order's client id may not be used again.
        is_post_only_expired: a post-only order that would take is accepted and canceled, not refused.
        has_passphrase: whether its keys come with a passphrase.
    """

    fees: Fees
    first_uid: int
    instruments: Mapping[str, Instrument]
    is_client_id_unique_forever: bool = True
    is_post_only_expired: bool = False
    has_passphrase: bool = False


RULES: dict[str, Rules] = {
    "binance": Rules(
        Fees(maker_bps=10, taker_bps=10, step=10**4),
        first_uid=354_937_868,
        instruments=GRIDS["binance"],
        is_client_id_unique_forever=False,
    ),
    "okx": Rules(
        Fees(maker_bps=8, taker_bps=10, step=1),
        first_uid=44_705_892_343_619_584,
        instruments=GRIDS["okx"],
        is_post_only_expired=True,
        has_passphrase=True,
    ),
}
