"""Makes the tables of docs/reference from the code. `make reference` writes them into the pages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from click import Context, Group
from pydantic import BaseModel

from invoke_gateway.admin.access import AccessRules, AdminAccess
from invoke_gateway.app.gateway import Gateway
from invoke_gateway.backend_errors import BackendError
from invoke_gateway.cli.main import main
from invoke_gateway.refusals import Refusal
from invoke_gateway.settings import FunctionSettings, Settings
from invoke_gateway.settings.key_texts import describe_keys
from invoke_gateway.telemetry.logs import keys as log_keys
from tests.policy.permissions.cases import CASES, decide, describe

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
IMAGES = ROOT / "docs" / "images"


def make_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def refusals() -> str:
    rows = []
    for refusal in Refusal:
        kind = refusal.value
        if refusal is Refusal.BACKEND_ERROR:
            continue
        text = kind.message if kind.message != "{text}" else "what is wrong, and where"
        rows.append((str(kind.status), f"`{kind.code}`", f"`{kind.reason}`" if kind.reason else "", text))
    for fault in BackendError.__subclasses__():
        rows.append(("500", "`ServiceException`", "", " ".join((fault.__doc__ or "").split())))
    return make_table(("Status", "Error", "`Reason`", "Text"), rows)


def settings() -> str:
    describe_keys()
    rows = [(f"`{key}`", default, text) for key, default, text in _walk(Settings, "")]
    return make_table(("Key", "Default", "Meaning"), rows)


def _walk(model: Any, prefix: str) -> Iterable[tuple[str, str, str]]:
    for name, field in model.__pydantic_fields__.items():
        key = f"{prefix}{field.alias or name}"
        below = _find_model(field.annotation)
        if below is not None:
            yield from _walk(
                below,
                f"{key}.ID."
                if name in ("accounts", "callers")
                else f"{key}.NAME."
                if below is FunctionSettings
                else f"{key}.",
            )
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, tuple):
            default = list(default)
        shown = (
            ""
            if default is None or repr(default).startswith("Pydantic")
            else f"`{default}`".replace("True", "true").replace("False", "false")
        )
        yield key, shown, " ".join((field.description or "").split())


def _find_model(annotation: Any) -> Any:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and (issubclass(candidate, BaseModel) or candidate is FunctionSettings):
            return candidate
    return None


def metrics() -> str:
    gateway = Gateway(Settings(), backend_url="http://127.0.0.1:9")
    rows = []
    access = AdminAccess(AccessRules(), is_loopback=True)
    for family in chain(gateway.admin.metrics.families(), access.families()):
        name = family.name + ("_total" if family.kind == "counter" else "")
        rows.append((f"`{name}`", family.kind, ", ".join(family.labels), family.help))
    return make_table(("Metric", "Type", "Labels", "Meaning (CloudWatch)"), rows)


def commands() -> str:
    """Returns each command's help in a block under a heading of its own."""
    top = main.make_context("invoke-gateway", [], resilient_parsing=True)
    return "\n\n".join(
        [f"```text\n{_format_help(top)}\n```"]
        + [
            f"{'##' if ' ' not in words else '###'} {words}\n\n```text\n{_format_help(context)}\n```"
            for words, context in _list_contexts(top, "")
        ]
    )


def _list_contexts(parent: Context, prefix: str) -> Iterable[tuple[str, Context]]:
    assert isinstance(parent.command, Group)
    for name in parent.command.list_commands(parent):
        command = parent.command.get_command(parent, name)
        assert command is not None
        context = Context(command, info_name=name, parent=parent, terminal_width=100)
        yield f"{prefix}{name}", context
        if isinstance(command, Group):
            yield from _list_contexts(context, f"{prefix}{name} ")


def _format_help(context: Context) -> str:
    context.terminal_width = 100
    return context.get_help().rstrip()


def logs() -> str:
    def keys_of(table: dict[str, str]) -> str:
        return make_table(("Key", "Value"), [(f"`{key}`", text) for key, text in table.items()])

    kinds = [
        (f"`{kind}`", text, ", ".join(f"`{key}`" for key in keys)) for kind, (text, keys) in log_keys.KINDS.items()
    ]
    return "\n\n".join(
        (
            "## Keys of the log",
            keys_of(log_keys.COMMON),
            "Lines that are most often searched for have a `kind`, and keys of their kind:",
            make_table(("`kind`", "Reports that", "Keys"), kinds),
            keys_of(log_keys.FIELDS),
            "## Keys of the access log",
            keys_of(log_keys.ACCESS),
        )
    )


def permissions() -> str:
    rows = []
    for number, case in enumerate(CASES, start=1):
        caller = case.caller.rpartition(":")[2].split("/")[1]
        rows.append((str(number), caller, case.what, case.aws, describe(decide(case)[1]), case.source))
    return make_table(("", "Caller", "Case", "AWS", "Gateway", "Source"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "refusals": refusals,
    "settings": settings,
    "metrics": metrics,
    "cli": commands,
    "logs": logs,
    "permissions": permissions,
}


def fill(name: str, text: str) -> str:
    """Returns `text`, the page of a table, with the table replaced."""
    marked = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert marked.search(text), f"docs/reference/{name}.md has no place for its table"
    return marked.sub(lambda found: f"{found[1]}{TABLES[name]()}\n{found[2]}", text)


BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{name}: {value}">
<title>{name}: {value}</title>
<rect width="{width}" height="20" rx="3" fill="#555"/>
<rect x="{left}" width="{right}" height="20" rx="3" fill="#1f6f43"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{name_x}" y="14">{name}</text>
<text x="{value_x}" y="14">{value}</text>
</g>
</svg>
"""


def make_badges() -> dict[str, str]:
    """Returns the pictures of the README's badges by file name. Each value is read from the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = {refusal.value.reason for refusal in Refusal if refusal.value.reason}
    values = {
        "python": ("python", project["project"]["requires-python"].replace(">=", "≥ ")),
        "license": ("license", project["project"]["license"]),
        "types": ("types", "mypy strict" if project["tool"]["mypy"]["strict"] else "mypy"),
        "reasons": ("throttle reasons", f"{len(reasons)} of AWS"),
    }
    return {f"badge-{key}.svg": _draw_badge(name, value) for key, (name, value) in values.items()}


def _draw_badge(name: str, value: str) -> str:
    left, right = 7 * len(name) + 10, 7 * len(value) + 10
    return BADGE.format(
        name=name, value=value, width=left + right, left=left, right=right, name_x=left / 2, value_x=left + right / 2
    )


if __name__ == "__main__":
    for file, picture in make_badges().items():
        (IMAGES / file).write_text(picture)
    for name in TABLES:
        page = REFERENCE / f"{name}.md"
        page.write_text(fill(name, page.read_text()))
