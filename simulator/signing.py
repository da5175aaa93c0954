"""HMAC-SHA256 as venues use it, and comparisons that take the same time whatever is wrong."""

import base64
import hmac
from hashlib import sha256


def _digest(secret: str, text: str) -> bytes:
    return hmac.new(secret.encode(), text.encode("utf-8", "replace"), sha256).digest()


def is_base64_of(secret: str, text: str, signature: str) -> bool:
    """Tell whether this is the base64 signature of the text."""
    right = base64.b64encode(_digest(secret, text))
    return hmac.compare_digest(right, signature.encode("utf-8", "replace"))


def is_hex_of(secret: str, text: str, signature: str) -> bool:
    """Tell whether this is the hexadecimal signature of the text, in either case."""
    right = _digest(secret, text).hex().encode()
    return hmac.compare_digest(right, signature.lower().encode("utf-8", "replace"))
