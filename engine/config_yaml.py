"""Reads a YAML 1.2 file into plain data and remembers where each piece of it stands.

Numbers stay exact (int or Decimal, never float), `${NAME}`, `${NAME:-default}` and `${file:/path}` are
filled in, duplicate keys are found. It knows nothing of what the keys mean.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from engine.config_scalars import Interpolated
from engine.errors import ConfigError

FILE_MAX_BYTES: Final = 1_048_576
NODES_MAX: Final = 20_000
DEPTH_MAX: Final = 20
SECRET_MAX_BYTES: Final = 65_536

_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAG: Final = "tag:yaml.org,2002:"

Place = tuple[int, int]  # line and column, from one
Key = tuple[str | int, ...]


@dataclass
class Source:
    """The plain data of one file, where each path of it stands, and what was wrong while reading."""

    name: str
    path: Path | None = None
    data: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    keys: dict[Key, Place] = field(default_factory=dict)
    values: dict[Key, Place] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    count: int = 0

    def at(self, path: Key) -> str:
        """Return file:line:column of a value."""
        line, column = self._place(path, on_key=False)
        return f"{self.name}:{line}:{column}" if line else self.name

    def complaint(self, path: Key, text: str, *, on_key: bool = False) -> str:
        """Return `text` with the place of `path`, its line and a caret."""
        line, column = self._place(path, on_key=on_key)
        dotted = ".".join(str(p) for p in path) or "(file)"
        if not line:
            return f"{self.name}: {dotted}: {text}"
        return f"{self.name}:{line}:{column}: {dotted}: {text}\n{self._caret(line, column)}"

    def origins(self) -> dict[str, str]:
        """Return where each value came from, by dotted path."""
        return {".".join(map(str, path)): f"{self.name}:{p[0]}" for path, p in self.values.items()}

    # A key that is not there stands where its parent's key stands.
    def _place(self, path: Key, *, on_key: bool) -> Place:
        if on_key and path in self.keys:
            return self.keys[path]
        if path in self.values:
            return self.values[path]
        while path:
            path = path[:-1]
            if path in self.keys:
                return self.keys[path]
        return (1, 1) if self.lines else (0, 0)

    # The line as it stands, unless it could hold a secret: then only its key.
    def _caret(self, line: int, column: int) -> str:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if re.search(r"secret|passphrase|api_key|password|token", text, re.IGNORECASE):
            text = text.partition(":")[0] + ": ..."
        return f"  {text[:160]}\n  {' ' * (column - 1)}^"


def read_source(path: Path, environ: Mapping[str, str]) -> Source:
    """Return the file as plain data; what is wrong inside it is collected, not raised.

    Raises:
        ConfigError: it cannot be read at all, or is not YAML.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8") from None
    if len(data) > FILE_MAX_BYTES:
        raise ConfigError(f"{path}: {len(data)} bytes is no configuration")
    source = Source(str(path), path, lines=text.splitlines())
    root = _compose(path, text)
    if root is not None:
        plain = _Builder(source, environ).build(root, ())
        if isinstance(plain, dict):
            source.data = plain
        else:
            source.problems.append(source.complaint((), "should be a map of sections"))
    return source


def _compose(path: Path, text: str) -> Node | None:
    yaml = YAML(typ="rt", pure=True)
    try:
        return cast("Node | None", yaml.compose(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        caret = f"\n{mark.get_snippet()}" if mark is not None else ""
        caret += "\n  (inside {...} a ${NAME} needs quotes)" if "${" in caret else ""
        raise ConfigError(f"{path}{where}: not YAML: {error.problem}{caret}") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


class _Builder:
    # Turns YAML's nodes into plain data, remembering the place of each; numbers stay exact.

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ

    def build(self, node: Node, path: Key) -> Any:
        source = self._source
        source.values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        source.count += 1
        if source.count > NODES_MAX or len(path) > DEPTH_MAX:
            raise ConfigError(source.complaint(path[:4], "nested or repeated without end"))
        if isinstance(node, MappingNode):
            return self._map(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(cast("ScalarNode", node), path)

    def _map(self, node: MappingNode, path: Key) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(path, "a key should be a word")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in built:
                self._source.keys[here] = _place(key_node)
                self._complain(here, "the same key a second time", on_key=True)
                continue
            self._source.keys[here] = _place(key_node)
            built[key] = self.build(value_node, here)
        return built

    def _scalar(self, node: ScalarNode, path: Key) -> Any:
        text = str(node.value)
        kind = str(node.tag).removeprefix(_TAG)
        if kind == "str":
            return self._text(text, path)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            return self._number(text, path)
        self._complain(path, f"the tag {node.tag} means nothing here")
        return None

    def _number(self, text: str, path: Key) -> int | Decimal | None:
        try:
            if re.fullmatch(r"[-+]?\d+", text):
                return int(text)
            if re.fullmatch(r"0[xo][0-9a-fA-F]+", text):
                return int(text, 0)
            return Decimal(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (ValueError, InvalidOperation):
            self._complain(path, "is not a number that can be read exactly")
            return None

    def _text(self, text: str, path: Key) -> str:
        if "${" not in text:
            return text
        return Interpolated(_REFERENCE.sub(lambda match: self._resolve(match[1], path), text))

    def _resolve(self, reference: str, path: Key) -> str:
        if reference.startswith("file:"):
            return self._from_file(Path(reference.removeprefix("file:")), path)
        if reference.startswith("keyring:"):
            return self._from_keyring(reference.removeprefix("keyring:"), path)
        name, has_default, default = reference.partition(":-")
        if _VARIABLE.fullmatch(name) is None:
            self._complain(
                path,
                f"${{{name}}} is neither ${{NAME}}, ${{NAME:-default}}, ${{file:/path}} nor "
                "${{keyring:service/user}}",
            )
            return ""
        value = self._environ.get(name)
        if value or has_default:
            return value or default
        self._complain(path, f"the environment has no {name}; set it or write ${{{name}:-default}}")
        return ""

    def _from_file(self, path: Path, at: Key) -> str:
        try:
            with path.open("rb") as file:
                data = file.read(SECRET_MAX_BYTES + 1)
            if len(data) > SECRET_MAX_BYTES:
                self._complain(at, f"{path} is too large to be a value")
                return ""
            return data.decode().rstrip("\r\n")
        except OSError as error:
            self._complain(at, f"{path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._complain(at, f"{path} is not text")
        return ""

    # The keyring of the person's session; its library is an extra, and may want a person to unlock it.
    def _from_keyring(self, reference: str, at: Key) -> str:
        service, slash, user = reference.rpartition("/")
        if not (service and slash and user):
            self._complain(at, "a keyring's entry is ${keyring:service/user}")
            return ""
        try:
            keyring: Any = import_module("keyring")
        except ImportError:
            self._complain(at, "the keyring library is not installed: pip install 'xcore[keyring]'")
            return ""
        try:
            found = keyring.get_password(service, user)
        except Exception as error:  # noqa: BLE001  its backends raise what they like
            self._complain(at, f"the keyring did not open: {type(error).__name__}")
            return ""
        if not found:
            self._complain(
                at, f"the keyring has no {user} of {service}: keyring set {service} {user}"
            )
            return ""
        return str(found)

    def _complain(self, path: Key, text: str, *, on_key: bool = False) -> None:
        self._source.problems.append(self._source.complaint(path, text, on_key=on_key))


def _place(node: Node) -> Place:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
