"""All messages of the core, by name. See docs/messages.md for the catalogue."""

from engine.messages.base import *  # noqa: F403  the package is the catalogue
from engine.messages.commands import *  # noqa: F403
from engine.messages.engine_events import *  # noqa: F403
from engine.messages.events import *  # noqa: F403
from engine.messages.market import *  # noqa: F403
from engine.messages.port import *  # noqa: F403
