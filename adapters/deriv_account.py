"""Whose account a Deriv session is for, and where its sockets are: the difference between the dialects.

New API: the token's accounts and each connection's one-time address come by REST. v3: the address is
fixed but for the app id, and the login on the socket says whose it is.
"""

from typing import Final
from urllib.parse import urlsplit

from adapters.deriv_answers import part
from adapters.deriv_rest import Account, DerivRest, RestRefused
from adapters.deriv_words import DIALECTS, DerivError, Dialect, Json
from adapters.registry import VenueConfig
from engine.errors import ConfigError

URLS: Final = {
    "new": {
        "rest": "https://api.derivws.com",
        "public_ws": "wss://api.derivws.com/trading/v1/options/ws/public",
    },
    "v3": {"public_ws": "wss://ws.derivws.com/websockets/v3"},
}


def dialect_of(config: VenueConfig) -> Dialect:
    """Return the configured dialect; ConfigError names the known ones."""
    wanted = config.api or DIALECTS[0]
    for known in DIALECTS:
        if wanted == known:
            return known
    names = ", ".join(DIALECTS)
    raise ConfigError(f"venues.{config.name}.api: {wanted!r} is none of {names}")


class Accounts:
    """The account of one session. Each method that asks blocks for a read's timeout at most."""

    def __init__(self, config: VenueConfig) -> None:
        self.dialect = dialect_of(config)
        self._config = config
        self.account_id = ""
        self.currency = ""
        self._rest = DerivRest(
            self._url("rest"), config.api_secret, config.api_key, config.timeouts.read_s
        )

    def _url(self, kind: str) -> str:
        return self._config.urls.get(kind) or URLS[self.dialect].get(kind, "")

    @property
    def is_known(self) -> bool:
        """Whether the venue has said whose account it is."""
        return bool(self.account_id)

    @property
    def public_url(self) -> str:
        """The address of the public link."""
        return self._with_app_id(self._url("public_ws"))

    def _with_app_id(self, url: str) -> str:
        if self.dialect == "new" or "app_id=" in url:
            return url
        app_id = self._config.api_key.reveal() or "1089"  # the venue's own id for trying things out
        return f"{url}{'&' if urlsplit(url).query else '?'}app_id={app_id}"

    def learn(self) -> DerivError | None:
        """Ask by REST whose accounts the token opens; return a refusal that no patience mends."""
        try:
            found = self._rest.accounts()
        except RestRefused as refused:
            return refused.error if refused.is_auth else None
        except (OSError, ValueError):
            return None
        chosen, problem = choose(found, self._config.account_uid)
        if chosen is None:
            return DerivError("account_uid", problem)
        self.account_id, self.currency = chosen.account_id, chosen.currency
        return None

    def take_login(self, message: Json) -> None:
        """Take the answer to a v3 login: {"authorize": {"loginid": "VRTC1", "currency": "USD", ...}}.

        Raises ValueError if it is not the configured account.
        """
        told = part(message, "authorize")
        login, currency = told.get("loginid"), told.get("currency")
        if not isinstance(login, str) or not isinstance(currency, str) or not login:
            raise ValueError("a login without an account")
        if self._config.account_uid and login != self._config.account_uid:
            raise ValueError(f"the token is {login}'s, not {self._config.account_uid}'s")
        self.account_id, self.currency = login[:64], currency[:20]

    def private_url(self) -> tuple[str, DerivError | None]:
        """Return where the next private connection goes, a secret, and a refusal that is final.

        Raises OSError when it cannot be told now; the text never carries the address.
        """
        if self.dialect == "v3":
            return self._with_app_id(self._url("private_ws") or self._url("public_ws")), None
        try:
            return self._rest.one_time_url(self.account_id), None
        except RestRefused as refused:
            if refused.is_auth:
                return "", refused.error
            raise OSError(f"no one-time address: {refused}") from None
        except ValueError as odd:
            raise OSError(f"no one-time address: {odd}") from None


def choose(found: list[Account], wanted: str) -> tuple[Account | None, str]:
    """Return the one account that is meant, or None and why it cannot be told."""
    names = ", ".join(f"{a.account_id} ({a.kind} {a.currency})" for a in found) or "none"
    if wanted:
        chosen = next((a for a in found if a.account_id == wanted), None)
        return chosen, f"the token does not open {wanted}; it opens {names}"
    active = [account for account in found if account.is_active]
    if len(active) == 1:
        return active[0], ""
    return None, f"the token opens {len(active)} active accounts: name one as account_uid: {names}"
