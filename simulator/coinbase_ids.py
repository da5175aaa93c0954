"""Coinbase's ids, one to one with our numbers, and the keys of its simulated accounts.

The keys are made from the accounts' names, so that none has to be kept anywhere.
"""

from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# The upper half of an id says what it is of, so that no two kinds of thing share one.
ORDERS, TRADES, PORTFOLIOS, ACCOUNTS = 0x0F00, 0x0E00, 0x0D00, 0x0C00
# The order of P-256's group: keys are the numbers below it.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def private_key_of(text: str) -> str:
    """Return the private key that belongs to a text, as PEM: the same one each time."""
    number = int.from_bytes(sha256(text.encode()).digest()) % (ORDER - 1) + 1
    key = ec.derive_private_key(number, ec.SECP256R1())
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ).decode()


def key_name_of(text: str) -> str:
    """Return a key's name as the venue writes them."""
    return f"organizations/demo/apiKeys/{text}"


def uuid_of(kind: int, number: int) -> str:
    """Return a number as an id of this kind of thing, one to one."""
    return str(UUID(int=(kind << 112) | (0x4 << 76) | (0x8 << 60) | number))


def number_of(kind: int, text: object) -> int | None:
    """Return the number in an id of this kind, None for anything else."""
    try:
        number = UUID(str(text)).int & ((1 << 60) - 1)
    except ValueError:
        return None
    return number if uuid_of(kind, number) == str(text) else None
