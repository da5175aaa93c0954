"""The error tree. Each error says what the CALLER may do about it.

CoreError
+-- Refused            final: the request is wrong or not allowed; nothing was sent
+-- Unreachable        nothing was sent; the same request may be tried again
+-- OutcomeUnknown     something may have been sent: query, never resend
+-- MessageError       bytes from outside do not follow the protocol; names the message
+-- ConfigError        the configuration is wrong; the program ends with exit code 78
+-- IllegalTransition  an order event that its status does not allow; nothing changed
+-- Fenced             this incarnation was replaced; it may touch nothing any more
"""

from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNREACHABLE: Final = 4
EXIT_UNKNOWN: Final = 5
EXIT_DENIED: Final = 6
EXIT_REJECTED: Final = 7
EXIT_UNCONFIRMED: Final = 8
EXIT_DEGRADED: Final = 9
EXIT_GAVE_UP: Final = 70
EXIT_JOURNAL: Final = 74
EXIT_LOCKED: Final = 75
EXIT_CONFIG: Final = 78


class CoreError(Exception):
    """Base of every error this program raises on purpose. `exit_code` if it ends the program."""

    exit_code: int = EXIT_FAILED


class Refused(CoreError):
    """The request is wrong or not allowed. Final; nothing was sent."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Unreachable(CoreError):
    """Nothing was sent. The same request may be tried again."""


class OutcomeUnknown(CoreError):
    """Something may have been sent. Query for the outcome, never resend."""


class MessageError(CoreError):
    """Bytes that are not a valid message. The reader goes on; the text names the message."""


class ConfigError(CoreError):
    """The configuration is wrong. Carries every problem found, one a line."""

    exit_code: int = EXIT_CONFIG


class IllegalTransition(CoreError):
    """An order event that the order's status does not allow. Nothing was changed."""


class Fenced(CoreError):
    """This incarnation of an actor was replaced. It may not send, ack or write any more."""
