"""Makes one flag and one environment variable for each key of the settings, from the models.

Both carry text, which is read by the kind of value that the key takes. Text that does not fit is passed on unchanged,
so that it is reported together with the mistakes of the settings file.
"""

import difflib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from invoke_gateway.secret_source import is_secret_source
from invoke_gateway.settings import PREFIX
from invoke_gateway.settings.cures import FALSE, TRUE
from invoke_gateway.settings.files.file import read_text
from invoke_gateway.settings.key_texts import describe_keys
from invoke_gateway.settings.merge import Override
from invoke_gateway.settings.models.accounts import Account
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import Path, join_key, kinds, settable
from invoke_gateway.settings.problems import Problem
from invoke_gateway.settings.renamed import renamed_variables

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
RESERVE_VARIABLE = f"{PREFIX}RESERVE"
DEFAULT_ACCOUNT = ("accounts", "default")
_TOKEN = ("admin_token",)
_SHORT_NAMES: dict[Path, tuple[str, ...]] = {
    ("backend", "url"): ("backend", "backend-url"),
    ("async", "adopt_events"): ("adopt-events", "async-adopt-events"),
}
# What Kubernetes puts into every container for Services whose names begin with `invoke-gateway`.
KUBERNETES = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_OTHER_SIGN = re.compile(r"\s*([A-Za-z0-9._-]+)(?:\s*:\s*|\s+)([0-9]+)\s*")  # checkout:50, checkout 50
SECTIONS = (
    ("Listeners", ("listen", "admin", "region", "tls")),
    ("Backend", ("backend",)),
    ("Limits", ("accounts", "credentials", "control", "provisioned")),
    ("Callers", ("signatures", "callers")),
    ("Payload quotas", ("quotas", "payload_error")),
    ("Asynchronous invocations", ("async",)),
    ("Shared counters", ("counters", "shared", "workers")),
    ("What clients receive", ("retry", "cors", "decision_header")),
    (
        "Protection of the gateway itself",
        ("buffer_bytes", "read_timeout_seconds", "keep_alive_seconds", "max_"),
    ),
)
LAST_SECTION = "Operation"


@dataclass(frozen=True, slots=True)
class Flag:
    """Holds one key of the settings as flag and as environment variable."""

    path: Path
    names: tuple[str, ...]
    annotation: Any
    field: FieldInfo
    default: object = None

    @property
    def key(self) -> str:
        return join_key(self.path)

    @property
    def parameter(self) -> str:
        """Returns the name under which click passes the value."""
        return self.names[0].replace("-", "_")

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(PREFIX + name.replace("-", "_").upper() for name in self.names)

    @property
    def is_switch(self) -> bool:
        return bool in kinds(self.annotation)

    @property
    def section(self) -> str:
        """Returns the heading of the flag in the help."""
        for title, keys in SECTIONS:
            if self.path[0].startswith(keys):
                return title
        return LAST_SECTION

    @property
    def help(self) -> str:
        describe_keys()
        shown = list(self.default) if isinstance(self.default, tuple) else self.default
        if isinstance(shown, bool):
            shown = str(shown).lower()
        default = "" if self.default is None else f"  [default: {shown}]"
        return f"{' '.join((self.field.description or '').split())}{default}"

    def option(self) -> click.Option:
        names = [f"--{name}" for name in self.names]
        if self.is_switch:
            names = [f"{name}/--no-{name[2:]}" for name in names]
            return FlagOption(self, [*names, self.parameter], default=None)
        return FlagOption(self, [*names, self.parameter], default=None, metavar=metavar(self.annotation))


class FlagOption(click.Option):
    """Makes the help of a flag when it is shown: a start has no use for it."""

    def __init__(self, flag: Flag, names: list[str], **more: Any) -> None:
        super().__init__(names, **more)
        del self.help  # click's own, which would hide the property
        self._flag = flag

    @functools.cached_property
    def help(self) -> str:  # type: ignore[override]  # click has an attribute that is read only
        return self._flag.help


def all_flags() -> list[Flag]:
    """Returns every flag, in the order of the settings; the default account's limits have flags of their own."""
    return list(_flags())


def _flags() -> Iterator[Flag]:
    for path, field in settable(Settings):
        names = _SHORT_NAMES.get(path, ("-".join(path).replace("_", "-"),))
        if path == ("accounts",):
            for below, limit in settable(Account):
                if below != ("functions",):
                    yield _flag((*DEFAULT_ACCOUNT, *below), ("-".join(below).replace("_", "-"),), limit)
        yield _flag(path, names, field)


def _flag(path: Path, names: tuple[str, ...], field: FieldInfo) -> Flag:
    default = None if field.default is PydanticUndefined else field.default
    return Flag(path, names, field.annotation, field, default)


def collect(
    flags: list[Flag],
    given: Mapping[str, Any],
    reserve: tuple[str, ...],
    environ: Mapping[str, str],
) -> tuple[dict[str, Override], list[Problem]]:
    """Returns the values that environment and command line set, weakest first, and the mistakes in them.

    flags: all flags
    given: the values that click parsed, None where a flag was not given
    reserve: the NAME=N texts of --reserve
    environ: the environment
    """
    problems = find_unknown_variables(flags, environ)
    layers: list[dict[Path, Override]] = [{}, {}]
    for flag in flags:
        # An empty variable counts as unset; of two names for one key, the shorter counts.
        variable = next((name for name in flag.variables if environ.get(name)), None)
        if variable is not None:
            text = environ[variable]
            if flag.path == _TOKEN and text.strip() != "null" and not is_secret_source(text):
                text = f"env:{variable}"  # the commands take the token itself from this variable, too
            layers[0][flag.path] = Override(read_value(flag.annotation, text, variable, problems), variable)
        value = given.get(flag.parameter)
        if value is not None:
            source = f"--{flag.names[0]}" if value is not False else f"--no-{flag.names[0]}"
            layers[1][flag.path] = Override(read_value(flag.annotation, value, source, problems), source)
    in_environment = environ.get(RESERVE_VARIABLE, "").strip(" ,")
    layers[0] |= read_reservations([in_environment] if in_environment else [], RESERVE_VARIABLE, problems)
    layers[1] |= read_reservations(list(reserve), "--reserve", problems)
    overrides: dict[str, Override] = {}
    for layer in layers:
        for path in sorted(layer, key=len):  # a whole table first, then what is set inside it
            overrides.pop(join_key(path), None)
            overrides[join_key(path)] = layer[path]
    return overrides, problems


def read_reservations(texts: list[str], source: str, problems: list[Problem]) -> dict[Path, Override]:
    """Returns the reservations in texts of the form NAME=N,NAME=N, by path."""
    found: dict[Path, Override] = {}
    for text in itertools.chain.from_iterable(map(_split_list, texts)):
        name, equals, slots = (part.strip() for part in text.partition("="))
        path = (*DEFAULT_ACCOUNT, "functions", name, "reserved_concurrent_executions")
        if not equals or not name or '"' in name:
            meant = _OTHER_SIGN.fullmatch(text)
            cure = f"write {meant[1]}={meant[2]}" if meant is not None else "write it as checkout=50"
            problems.append(Problem("", source, f"{text!r} is not NAME=N", cure))
        elif path in found:
            problems.append(Problem(join_key(path), source, "is given twice", "keep one of the two"))
        else:
            found[path] = Override(read_value(int, slots, source, problems), source)
    return found


def _split_list(text: str) -> list[str]:
    """Returns the parts between commas; of a text without any, the text."""
    return [part for part in text.split(",") if part.strip()] or [text]


def find_unknown_variables(flags: list[Flag], environ: Mapping[str, str]) -> list[Problem]:
    """Finds variables that look like settings and are none: most likely misspelt, and so without effect."""
    known = {variable for flag in flags for variable in flag.variables} | {CONFIG_VARIABLE, RESERVE_VARIABLE}
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in known]
    problems, renamed = [], renamed_variables(PREFIX)
    for name in sorted(name for name in unknown if not KUBERNETES.fullmatch(name)):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        cure = f"did you mean {close[0]}?" if close else "unset it, or see invoke-gateway serve --help"
        if name in renamed:
            cure = f"it was renamed: set {renamed[name]}"
        problems.append(Problem("", name, "is not a setting", cure))
    return problems


def read_value(annotation: Any, value: object, source: str, problems: list[Problem]) -> object:
    """Returns the value in the text of a flag or variable; the text itself where it does not fit."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == "null" and type(None) in get_args(annotation):
        return None
    for kind in kinds(annotation):
        if kind is bool and text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
        if kind is dict:
            return _read_mapping(text, source, problems)
        if kind is tuple:
            return _read_numbers(text) if _has_numbers(annotation) else _read_texts(text)
        try:
            if kind is int or kind is float:
                return kind(text)
        except ValueError:
            continue
    return text


def _has_numbers(annotation: Any) -> bool:
    """Returns whether the members of a list are numbers; else they are texts."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return float in kinds(get_args(annotation)[0])


def _read_texts(text: str) -> object:
    """Returns the texts between commas."""
    parts = (part.strip().strip("'\"") for part in text.strip("[] ").split(","))
    return [part for part in parts if part]


def _read_numbers(text: str) -> object:
    """Returns the numbers between commas; the text itself where one is none."""
    try:
        return [float(part) for part in text.strip("[] ").split(",")]
    except ValueError:
        return text


def _read_mapping(text: str, source: str, problems: list[Problem]) -> object:
    values, found = read_text(text.encode(errors="surrogateescape"), source)
    problems += found
    return values


def metavar(annotation: Any) -> str:
    """Returns the text that stands for the value in the help."""
    many = "TEXT,TEXT,…" if tuple in kinds(annotation) and not _has_numbers(annotation) else "N,N,…"
    words = {int: "N", float: "NUMBER", str: "TEXT", dict: "YAML", tuple: many}
    return "|".join(words.get(kind, kind if isinstance(kind, str) else "HOST:PORT") for kind in kinds(annotation))
