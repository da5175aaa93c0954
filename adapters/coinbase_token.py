"""Coinbase's tokens for streams: JWT, signed with the account's EC key (ES256). Those of REST are ccxt's.

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication. A token
lasts two minutes; a subscription outlives the one it was made with.
"""

import base64
from hashlib import sha256
from typing import Any, Final

import msgspec

from adapters.codec import CANNOT_SIGN, Credentials
from engine.errors import Refused

LIFE_S: Final = 120
_encode = msgspec.json.Encoder().encode


def stream_token(credentials: Credentials, now_s: int, number: int) -> str:
    """Return a token of this second; `number` makes each differ. Refused if the secret is no EC key."""
    name = credentials.api_key.reveal()
    nonce = sha256(f"{name} {now_s} {number}".encode()).hexdigest()[:32]
    header = {"alg": "ES256", "kid": name, "nonce": nonce, "typ": "JWT"}
    claims = {"sub": name, "iss": "cdp", "nbf": now_s, "exp": now_s + LIFE_S}
    signed = f"{_part(_encode(header))}.{_part(_encode(claims))}"
    return f"{signed}.{_part(_signature(credentials.api_secret.reveal(), signed.encode()))}"


def _signature(pem: str, data: bytes) -> bytes:
    # Only here: the other venues' processes have no use for it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415

    try:
        # A key that came through an environment variable may have its line ends written out.
        key: Any = serialization.load_pem_private_key(pem.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(CANNOT_SIGN, "the secret is not a private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused(CANNOT_SIGN, "the secret is not an EC key")
    # The venue wants the two numbers side by side, 32 bytes each, not as DER.
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
