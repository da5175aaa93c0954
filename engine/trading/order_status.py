"""The one table of an order's life: (status, trigger) -> status. What is not in it is illegal.

Venues deliver late, twice and out of order, so most pairs are legal: facts about money (fills)
count in every status, an order ends only on evidence, and an older fact never undoes a newer one.
"""

from typing import Final

CREATED: Final = "CREATED"
DENIED: Final = "DENIED"
PENDING_NEW: Final = "PENDING_NEW"
UNKNOWN: Final = "UNKNOWN"
NEW: Final = "NEW"
PARTIALLY_FILLED: Final = "PARTIALLY_FILLED"
FILLED: Final = "FILLED"
PENDING_CANCEL: Final = "PENDING_CANCEL"
CANCELED: Final = "CANCELED"
PENDING_REPLACE: Final = "PENDING_REPLACE"
REJECTED: Final = "REJECTED"
EXPIRED: Final = "EXPIRED"

STATUSES: Final = (
    CREATED, DENIED, PENDING_NEW, UNKNOWN, NEW, PARTIALLY_FILLED,
    FILLED, PENDING_CANCEL, CANCELED, PENDING_REPLACE, REJECTED, EXPIRED,
)  # fmt: skip
CLOSED: Final = frozenset({DENIED, FILLED, CANCELED, REJECTED, EXPIRED})
IN_FLIGHT: Final = frozenset({PENDING_NEW, PENDING_CANCEL, PENDING_REPLACE})

# Triggers: the event, split where the arithmetic or the code of the event decides.
APPROVE: Final = "approved"
DENY: Final = "denied"
ACK: Final = "acknowledged"
REJECT: Final = "rejected"
REJECT_WEAK: Final = "rejected_weakly"  # "not received", or a rejection that a fill refutes
LOSE: Final = "unknown"
FILL_PART: Final = "filled_part"
FILL_LAST: Final = "filled_last"
CANCEL: Final = "cancel_requested"
CANCEL_REFUSE: Final = "cancel_rejected"
CANCELED_BY_VENUE: Final = "canceled"
EXPIRE: Final = "expired"
VENUE_FILL: Final = "venue_filled"
RESOLVE_REJECTED: Final = "resolved_rejected"
RESOLVE_CANCELED: Final = "resolved_canceled"
SEE: Final = "external_seen"

TRIGGERS: Final = (
    APPROVE, DENY, ACK, REJECT, REJECT_WEAK, LOSE, FILL_PART, FILL_LAST, CANCEL, CANCEL_REFUSE,
    CANCELED_BY_VENUE, EXPIRE, VENUE_FILL, RESOLVE_REJECTED, RESOLVE_CANCELED, SEE,
)  # fmt: skip

# Targets that are not a status by themselves.
SAME: Final = "*same"  # a duplicate or an older fact: nothing changes, apply returns False
KEEP: Final = "*keep"  # the status stays, but the event's facts are taken
OPEN: Final = (
    "*open"  # PENDING_CANCEL if a cancel is on its way, else by arithmetic PARTIALLY_FILLED or NEW
)
ADOPT: Final = "*adopt"  # OPEN if the order had been ended without the venue's proof, else SAME

# Rows shared by every status after the order's birth: what is late or repeated.
_LATE: Final = {
    APPROVE: SAME,  # a redelivered approval
    LOSE: SAME,  # the reply was lost, but the stream had already proven the order
    REJECT_WEAK: SAME,  # "never arrived" is refuted by every proof that it did
    CANCEL: SAME,  # a cancel that crossed with the order's end
    CANCEL_REFUSE: SAME,  # "too late to cancel": the end is already known
    VENUE_FILL: KEEP,  # remembers what is owed; only executions move the status
}
_CLOSED: Final = {
    **_LATE,
    ACK: SAME,
    REJECT: SAME,
    CANCELED_BY_VENUE: SAME,
    EXPIRE: SAME,
    RESOLVE_REJECTED: SAME,  # the venue's evidence was faster than the person
    RESOLVE_CANCELED: SAME,
}

_ROWS: Final[dict[str, dict[str, str]]] = {
    CREATED: {APPROVE: PENDING_NEW, DENY: DENIED, SEE: OPEN},
    PENDING_NEW: {
        APPROVE: SAME,
        DENY: DENIED,  # approval too old or gate closed: provably before it was sent
        ACK: OPEN,
        REJECT: REJECTED,
        REJECT_WEAK: REJECTED,
        LOSE: UNKNOWN,
        FILL_PART: OPEN,  # a fill before its acknowledgement proves the order
        FILL_LAST: FILLED,
        CANCEL: KEEP,  # the submit is not proven yet; the wish is remembered
        CANCEL_REFUSE: KEEP,
        CANCELED_BY_VENUE: CANCELED,  # IOC or FOK without an acknowledgement
        EXPIRE: EXPIRED,
        VENUE_FILL: KEEP,
    },
    UNKNOWN: {
        APPROVE: SAME,
        ACK: OPEN,
        REJECT: REJECTED,
        REJECT_WEAK: REJECTED,  # settle window passed, request expiry enforced by the venue
        LOSE: SAME,
        FILL_PART: OPEN,
        FILL_LAST: FILLED,
        CANCEL: KEEP,  # PENDING_CANCEL would hide that the submit is unproven
        CANCEL_REFUSE: KEEP,  # "no such order" is no proof: it may still arrive
        CANCELED_BY_VENUE: CANCELED,
        EXPIRE: EXPIRED,
        VENUE_FILL: KEEP,
        RESOLVE_REJECTED: REJECTED,
        RESOLVE_CANCELED: CANCELED,
    },
    NEW: {
        **_LATE,
        ACK: SAME,
        REJECT: REJECTED,  # some venues reject after they accepted
        FILL_PART: OPEN,
        FILL_LAST: FILLED,
        CANCEL: PENDING_CANCEL,
        CANCELED_BY_VENUE: CANCELED,
        EXPIRE: EXPIRED,
    },
    PARTIALLY_FILLED: {
        **_LATE,
        ACK: KEEP,  # an acknowledgement after a fill still brings the venue's order id
        FILL_PART: PARTIALLY_FILLED,
        FILL_LAST: FILLED,
        CANCEL: PENDING_CANCEL,
        CANCELED_BY_VENUE: CANCELED,
        EXPIRE: EXPIRED,
    },
    PENDING_CANCEL: {
        **_LATE,
        ACK: KEEP,
        REJECT: REJECTED,
        FILL_PART: PENDING_CANCEL,  # the cancel is still on its way
        FILL_LAST: FILLED,
        CANCEL_REFUSE: OPEN,  # back to what it was before the cancel
        CANCELED_BY_VENUE: CANCELED,
        EXPIRE: EXPIRED,
        RESOLVE_CANCELED: CANCELED,  # an unproven cancel, settled by a person
    },
    PENDING_REPLACE: {  # no event leads here yet; its ends are the same as those of an open order
        **_LATE,
        ACK: OPEN,
        FILL_PART: PENDING_REPLACE,
        FILL_LAST: FILLED,
        CANCELED_BY_VENUE: CANCELED,
        EXPIRE: EXPIRED,
    },
    FILLED: {
        **_CLOSED,
        FILL_PART: FILLED,  # an overfill: counted and flagged
        FILL_LAST: FILLED,
    },
    CANCELED: {
        **_CLOSED,
        ACK: ADOPT,  # an older fact, unless a person had only assumed the end
        FILL_PART: CANCELED,  # executed before the cancel, reported after it
        FILL_LAST: FILLED,
    },
    EXPIRED: {**_CLOSED, FILL_PART: EXPIRED, FILL_LAST: FILLED},
    REJECTED: {
        **_CLOSED,
        ACK: ADOPT,  # it appeared after all, after "not received" or a person's word
        CANCELED_BY_VENUE: CANCELED,  # it did exist, and this is how it ended
        EXPIRE: EXPIRED,
        FILL_PART: OPEN,  # a fill refutes any rejection
        FILL_LAST: FILLED,
    },
    DENIED: {
        APPROVE: SAME,
        DENY: SAME,
        ACK: OPEN,  # "provably not sent" was wrong: adopt it and raise the alarm (`resurrected`)
        REJECT_WEAK: SAME,
        CANCEL: SAME,
        CANCEL_REFUSE: SAME,
        FILL_PART: OPEN,
        FILL_LAST: FILLED,
        VENUE_FILL: KEEP,
    },
}
TABLE: Final[dict[tuple[str, str], str]] = {
    (status, trigger): target for status, row in _ROWS.items() for trigger, target in row.items()
}
