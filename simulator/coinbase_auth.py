"""Coinbase's logins: a named EC key, and tokens (JWT, ES256) that it signs. Signatures are truly checked.

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication. A token
lasts two minutes; one for a REST call names that call, one for a stream does not.
"""

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from simulator.venue import Account, Venue

ISSUERS = ("cdp", "coinbase-cloud")
LIFE_S_MAX = 120
LEEWAY_S = 60  # that clocks may be apart; the venue does not say how much it grants
TOKEN_LENGTH_MAX = 4096


class NotAuthenticated(Exception):
    """The token proves nobody. The text is for the log; the venue tells no reason."""


class Doorman:
    """Says whose token it is."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}

    def account(self, token: object, call: str | None) -> Account:
        """Return the account of a token; `call` is "GET host/path" for REST, None for a stream."""
        header, claims, signed, signature = _parts(token)
        name = claims.get("sub")
        account = self._venue.accounts.get(name) if isinstance(name, str) else None
        if account is None or header.get("kid") != name or header.get("alg") != "ES256":
            raise NotAuthenticated("no such key")
        try:
            self._public_key(account).verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise NotAuthenticated("wrong signature") from None
        self._check_times(claims)
        if claims.get("iss") not in ISSUERS:
            raise NotAuthenticated("wrong issuer")
        uri = str(claims.get("uri", "")).replace("http://", "", 1)
        if call is not None and uri != call:
            raise NotAuthenticated("the token is for another call")
        return account

    def _check_times(self, claims: dict[str, Any]) -> None:
        begins, ends = claims.get("nbf"), claims.get("exp")
        if not (isinstance(begins, int) and isinstance(ends, int)):
            raise NotAuthenticated("no times")
        now_s = self._venue.now_ms() // 1000
        if not begins - LEEWAY_S <= now_s <= ends + LEEWAY_S or ends - begins > LIFE_S_MAX:
            raise NotAuthenticated("not its time")

    def _public_key(self, account: Account) -> ec.EllipticCurvePublicKey:
        known = self._keys.get(account.api_key)
        if known is None:
            private = load_pem_private_key(account.api_secret.encode(), None)
            assert isinstance(private, ec.EllipticCurvePrivateKey)
            known = self._keys[account.api_key] = private.public_key()
        return known


def _parts(token: object) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if not isinstance(token, str) or len(token) > TOKEN_LENGTH_MAX or token.count(".") != 2:
        raise NotAuthenticated("no token")
    header, claims, signature = token.split(".")
    try:
        told = [json.loads(_bytes_of(part)) for part in (header, claims)]
        raw = _bytes_of(signature)
    except (ValueError, binascii.Error):
        raise NotAuthenticated("not a token") from None
    if len(raw) != 64 or not all(isinstance(part, dict) for part in told):
        raise NotAuthenticated("not a token")
    # Two numbers of 32 bytes on the wire; the library wants them as DER.
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    return told[0], told[1], f"{header}.{claims}".encode(), utils.encode_dss_signature(r, s)


def _bytes_of(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
