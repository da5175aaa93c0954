"""Reads config.yaml: YAML 1.2, every problem at once with its place, exact numbers, outside secrets.

`load` answers a frozen Config or raises ConfigError; nothing here touches a running core. Numbers
are read as text, so no amount ever passes through a float. A flag may lower the mode, never raise it.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from engine import gates
from engine.config_models import MODES, Config, Credentials, Settings, Urls, Venue
from engine.config_yaml import Key, Source, read_source
from engine.confusable import unknown_adapter
from engine.errors import ConfigError
from engine.venue_names import is_real

STATE_DIR_VARIABLE: Final = "XCORE_STATE_DIR"


def load(
    path: Path | None,
    *,
    mode_flag: str | None = None,
    state_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
    gated: bool = True,
) -> Config:
    """Return the effective configuration of `path`, or of the shipped defaults without one.

    Without `gated` the gates of a mode are not asked for: they stand before trading, never before stopping.

    Raises:
        ConfigError: the text carries every problem found, each with its place.
    """
    environ = os.environ if environ is None else environ
    source = Source("defaults") if path is None else read_source(path, environ)
    settings = _validate(source)
    mode = _effective_mode(settings.mode, mode_flag)
    if gated and mode == "paper":
        raise ConfigError(f"{source.at(('mode',))}: mode: {gates.NOT_BUILT}")
    if mode != settings.mode:
        settings = _lowered(settings, mode)
    if mode not in gates.GATED:
        _check_demo(settings, source)
    elif gated:
        gates.check(settings, source)
    folder = _state_dir(settings, state_dir, environ)
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return Config.model_construct(**values, state_dir=folder, source=path, origins=source.origins())


def default_path() -> Path | None:
    """Return ./config.yaml, else the one beside this program, else None."""
    beside = Path(__file__).resolve().parent.parent / "config.yaml"
    return next((p for p in (Path("config.yaml"), beside) if p.is_file()), None)


def config_hash(config: Settings) -> str:
    """Return a hash of everything that was configured, secrets left out."""
    fields = set(Settings.model_fields)
    plain = config.model_dump(mode="json", by_alias=True, include=fields)
    for venue in plain["venues"].values():
        del venue["credentials"]
    text = to_json(_sorted(plain))
    return blake2b(text, digest_size=16).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of config.yaml, for editors."""
    return Settings.model_json_schema(by_alias=True)


# --- modes and folders ----------------------------------------------------------------------------


def _effective_mode(configured: str, flag: str | None) -> str:
    if flag is None:
        return configured
    if flag not in MODES:
        raise ConfigError(f"--mode {flag}: should be one of {', '.join(MODES)}")
    if MODES.index(flag) > MODES.index(configured):
        raise ConfigError(
            f"--mode {flag}: a flag can only lower the mode, and the configuration says "
            f"{configured}"
        )
    return flag


# What was written for a higher mode points at real venues: neither URLs nor keys come along.
def _lowered(settings: Settings, mode: str) -> Settings:
    bare = {"urls": Urls(), "credentials": Credentials()}
    venues = {name: v.model_copy(update=bare) for name, v in settings.venues.items()}
    return settings.model_copy(update={"mode": mode, "venues": venues})


# Any venue may be spoken to through ccxt or a plug-in: what is not known to be real is, if it takes keys.
def _beyond_demo(venue: Venue, url: str) -> str:
    host = str(urlsplit(url).hostname)
    if is_real(host):
        return f"{host} is the real venue"
    has_keys = bool(venue.credentials.given())
    return f"keys would go to {host}" if has_keys and not gates.is_loopback(url) else ""


def _check_demo(settings: Settings, source: Source) -> None:
    problems = [
        source.complaint(("venues", name, "urls", key), f"{why}, and this is demo mode")
        for name, venue in settings.venues.items()
        for key, url in venue.urls.given().items()
        if (why := _beyond_demo(venue, url))
    ]
    if settings.demo.simulator == "external":
        problems += [
            source.complaint(("venues", name), "needs urls: demo.simulator is external")
            for name, venue in settings.venues.items()
            if venue.enabled and venue.is_simulated
        ]
    if problems:
        raise ConfigError("\n".join(problems))


def _state_dir(settings: Settings, flag: Path | None, environ: Mapping[str, str]) -> Path:
    if flag is not None:
        return flag.expanduser().absolute()
    named = environ.get(STATE_DIR_VARIABLE) or settings.storage.dir
    if named:
        return Path(named).expanduser().absolute()
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home).absolute() / "xcore" / settings.mode / settings.name


# --- problems in words ----------------------------------------------------------------------------

_WORDS: Final = {
    "missing": "is missing",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "string_type": "should be text, in quotes if need be",
    "dict_type": "should be a map",
    "model_type": "should be a map",
    "model_attributes_type": "should be a map",
    "list_type": "should be a list, like [BTC/USDT]",
    "string_pattern_mismatch": "is not spelled as this should be ({pattern})",
    "greater_than": "should be more than {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than_equal": "should be at most {le}",
    "literal_error": "should be one of {expected}",
    "too_short": "should have at least {min_length}",
    "too_long": "should have at most {max_length}",
}


def _validate(source: Source) -> Settings:
    try:
        settings = Settings.model_validate(source.data)
    except ValidationError as error:
        found = [_complaint(source, e) for e in error.errors(include_url=False)]
        raise ConfigError(_in_file_order(source.problems + found)) from None
    if source.problems:
        raise ConfigError(_in_file_order(source.problems))
    return settings


def _in_file_order(problems: list[str]) -> str:
    def place(problem: str) -> tuple[int, ...]:
        found = re.search(r":(\d+):(\d+): ", problem)
        return (0, 0) if found is None else (int(found[1]), int(found[2]))

    return "\n".join(sorted(problems, key=place))


def _complaint(source: Source, error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    path = tuple(part for part in error["loc"] if part != "[key]")
    if "key" in context:
        path = (*path, str(context["key"]))
    if error["type"] == "extra_forbidden":
        hint = _did_you_mean(str(path[-1]), _names_beside(path))
        return source.complaint(path, f"unknown key{hint}", on_key=True)
    words = _WORDS.get(error["type"])
    text = error["msg"] if words is None else words.format(**context)
    expected = re.findall(r"[\w-]+", str(context.get("expected", "")))
    hint = _did_you_mean(str(error["input"]), expected) if expected else ""
    if path[-1] == "adapter":
        hint = f"  {told}" if (told := unknown_adapter(str(error["input"]))) else hint
    return source.complaint(path, text + hint, on_key="[key]" in error["loc"])


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"  did you mean '{close[0]}'?" if close else ""


# The keys that the section holding `path` knows.
def _names_beside(path: Key) -> list[str]:
    model: Any = Settings
    for part in path[:-1]:
        info = model.model_fields.get(str(part)) if _is_model(model) else None
        model = info.annotation if info is not None else _inner_model(model)
    if not _is_model(model):
        return []
    return [info.alias or name for name, info in model.model_fields.items()]


def _inner_model(annotation: Any) -> Any:
    return next((a for a in getattr(annotation, "__args__", ()) if _is_model(a)), None)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value
