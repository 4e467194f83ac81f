"""Runs the console transcripts of the README and of docs/, each page in one shell, and compares what is printed.

    python -m tests.docs.transcripts docs/guides/holds.md     # print what really happens, for writing a page

A block `console` is a part of its page's shell session: commands after `$ `, each with what it prints. A block `sh`,
which can be pasted, is one command; the block `text` after it is what it prints. A comment right before a block changes
this:

    <!-- not run: REASON -->     the block needs what a test cannot have
    <!-- soak: REASON -->        the block is run by `make soak`, in a shell of its own
    <!-- new shell -->           what the blocks before have started is ended first
    <!-- before: COMMAND -->     a command that the reader has run before, such as one that starts a backend

The page's comment `<!-- transcripts: run by FILE -->` names the test that runs all of its blocks in another way.

Replaced are the ports (each gets a free one), the addresses of other machines (loopback instead), and, in what is
printed, times, ids and durations. A line `…` of a page stands for any lines. A block that shows no output is run for
its exit statuses alone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.stores import find_binary

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"(?P<comments>(?:^<!-- [^\n]* -->\n)*)"
    r"(?:^```console\n(?P<console>.*?)^```$|^```sh\n(?P<commands>.*?)^```$(?:\n+^```text\n(?P<printed>.*?)^```$)?)",
    re.MULTILINE | re.DOTALL,
)
COMMENT = re.compile(r"<!-- (not run|soak|before|new shell)(?:: (.*?))? -->")
RUN_BY = re.compile(r"^<!-- transcripts: run by (\S+) -->$", re.MULTILINE)
PORTS = ("9001", "9002", "4566", "9009", "6379", "9011", "9012")
MACHINES = re.compile(r"\b10\.0\.0\.\d+\b")
# A reader's call has started within a second. On a busy machine it may take three.
SLEEP = 'sleep() { case "$1" in *.*) command sleep "$1";; *) command sleep "$(($1 * 3))";; esac; }\n'
MARK, END_OF_MARK = "\x1e", "\x1f"
ANY = "…"
LOG_LINE = re.compile(r"<time> (DEBUG|INFO|WARNING|ERROR) ")

# What differs from one run to the next.
CHANGING = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"(?<=<id>-)(\w+)-[0-9a-f]+(?=\")", r"\1-<time>"),
    (r"\bg-[0-9a-f]{8}\b", "<gateway>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}Z?", "<time>"),
    (r"\b\d{8}T\d{6}Z\b", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"invoke-gateway \d+\.\d\S*", "invoke-gateway <version>"),
    (r"(?m)^date: .*$", "date: <time>"),
    (r"(?m)^x-amz-retry-after: \d+", "x-amz-retry-after: <milliseconds>"),
    (r"(?m)^(retry-after: )\d+", r"\1<seconds>"),
    # The length is that of 30.0 seconds or of 29.999.
    (r"(?m)^content-length: \d+(?=(?:\r?\n[^\r\n]+)*\s+.*\"seconds_left\":)", "content-length: <bytes>"),
    (r"(?<=\"seconds_left\":)[\d.]+", "<seconds>"),
    (r"(?m)^(real|user|sys)\s+\d+m[\d.]+s", r"\1 <seconds>"),
    (r"(?<=\"at\": )[\d.]+", "<time>"),
    (r"(?<=\"oldest_seconds\": )[\d.]+", "<seconds>"),
    (r"\b\d+\.\d+ m?s\b", "<seconds>"),
    (r"[^ ]*/(?=events\.db)", "<home>/"),
    (r"[ \t─]+", " "),
    (r"(?m)^.*Killed.*\n", ""),  # the shell's word on what became of a job
    (r"\r", ""),
    (r" --admin 127\.0\.0\.1:9002(?=`)", ""),  # the port is not the default one where the test runs
)


@dataclass
class Block:
    """Holds one block: its page and line, its commands with what they print, and what its comments say."""

    page: str
    line: int
    steps: list[tuple[str, str]]
    not_run: str | None = None
    soak: str | None = None
    is_first: bool = False
    before: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def shows_output(self) -> bool:
        return any(expected for _, expected in self.steps)


def list_pages() -> list[Path]:
    return [page for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))] if list_blocks(page)]


def list_blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = RUN_BY.search(text)
    blocks = []
    for match in FENCE.finditer(text):
        line = text[: match.end("comments")].count("\n") + 1
        steps = (
            split(match["console"]) if match["console"] else [(match["commands"].rstrip("\n"), match["printed"] or "")]
        )
        block = Block(str(page.relative_to(ROOT)), line, steps)
        for comment in match["comments"].splitlines():
            said = COMMENT.fullmatch(comment)
            if said is None:
                continue
            if said[1] == "new shell":
                block.is_first = True
            elif said[1] == "before":
                block.before.append(said[2])
            else:
                assert said[2], f"{block}: `{said[1]}` has no reason"
                setattr(block, said[1].replace(" ", "_"), said[2])
        blocks.append(block)
    if found:
        assert page.name in (ROOT / found[1]).read_text(), f"{found[1]} does not name {page.name}"
        blocks = []
    return blocks


def list_sessions(page: Path) -> Iterator[list[Block]]:
    """Returns the blocks of a page that share a shell."""
    session: list[Block] = []
    for block in list_blocks(page):
        if block.not_run is not None:
            continue
        if session and (block.is_first or block.soak is not None or session[-1].soak is not None):
            yield session
            session = []
        session.append(block)
    if session:
        yield session


def split(block: str) -> list[tuple[str, str]]:
    """Returns each command, with the lines of its here-document and its continuations, and what the page prints."""
    steps: list[tuple[str, str]] = []
    end: str | None = None
    for line in block.splitlines():
        if end is not None:
            steps[-1] = (f"{steps[-1][0]}\n{line}", "")
            if line == end or (end == "" and not line.endswith("\\")):
                end = None
        elif line.startswith("$ "):
            steps.append((line[2:], ""))
            document = re.search(r"<<-?'?(\w+)'?$", line)
            end = document[1] if document else "" if line.endswith("\\") else None
        else:
            steps[-1] = (steps[-1][0], f"{steps[-1][1]}{line}\n")
    return steps


def lines_of(printed: str) -> list[str]:
    for pattern, instead in CHANGING:
        printed = re.sub(pattern, instead, printed)
    return [line.strip() for line in printed.splitlines() if line.strip()]


def agree(expected: str, got: str) -> bool:
    """Returns whether `got` is what the page shows. A log line in between counts only where the page shows one."""
    shown, printed = lines_of(expected), lines_of(got)
    if not any(map(LOG_LINE.match, shown)):
        printed = [line for line in printed if not LOG_LINE.match(line)]
    pattern = "".join(r"(?:.*\n)*" if line == ANY else _escape(line) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _escape(line: str) -> str:
    return ".*".join(map(re.escape, line.split(ANY)))


def run(session: list[Block], folder: Path) -> list[tuple[int, str]]:
    """Runs the commands of a session in one shell. Returns the exit status and the output of each."""
    script = SLEEP + "".join(_make_script(session))
    ports = {port: str(free_port()) for port in PORTS}
    for port, free in ports.items():
        script = re.sub(rf"\b{port}\b", free, script)
    script = MACHINES.sub("127.0.0.1", script)
    programs = [Path(sys.executable).parent, find_binary("valkey").parent]
    environment = bare_environment(folder) | {
        "PATH": ":".join([*map(str, programs), "/usr/local/bin:/usr/bin:/bin"]),
        "PWD": str(folder),
        "INVOKE_GATEWAY_LISTEN": f"127.0.0.1:{ports['9001']}",
        "INVOKE_GATEWAY_ADMIN": f"127.0.0.1:{ports['9002']}",
        # Shorter than the default: a store's first gateway waits for one lease.
        "INVOKE_GATEWAY_SHARED_LEASE_SECONDS": "2",
        # As a reader has them who uses AWS's command.
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    log = folder.parent / f"{folder.name}.log"
    with running(["bash", "-c", script], log, environment, folder) as shell:
        wait_until(lambda: not shell.is_running, "the transcript's last command has ended", timeout=120)
        shell.stop()
    printed = log.read_text()
    for port, free in ports.items():
        printed = re.sub(rf"\b{free}\b", port, printed)
    pieces = printed.split(MARK)[1:]
    results = []
    for piece in pieces:
        text, _, status = piece.rpartition(END_OF_MARK)
        results.append((int(status.split()[0]), text))
    return results


def _make_script(session: list[Block]) -> Iterator[str]:
    for block in session:
        yield from (f"{_add_waits(command)}\n" for command in block.before)
        for command, _ in block.steps:
            yield f"printf '{MARK}'\n{_add_waits(command)}\n"
            yield f"_status=$?; printf '{END_OF_MARK}%s\\n' $_status\n"


def _add_waits(command: str) -> str:
    """Returns the command with a wait after each line that starts a server. A reader is slower than the server."""
    return "\n".join(f"{line} {_make_wait(line)}" if line.endswith("&") else line for line in command.splitlines())


def _make_wait(line: str) -> str:
    found = re.search(r"--admin (\S+)", line)
    where = found[1] if found else "127.0.0.1:9002"
    if "valkey-server" in line:
        probe = "(: <>/dev/tcp/127.0.0.1/6379) 2>/dev/null"
    elif "invoke-gateway serve" in line:
        probe = f"curl -so /dev/null http://{where}/healthz"
    else:
        return ""
    return f"until {probe}; do kill -0 $! || break; sleep 0.05; done"


def main(name: str) -> None:
    for session in list_sessions(Path(name).resolve()):
        if session[0].soak is not None and "--soak" not in sys.argv:
            continue
        with TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            home.mkdir()
            results = run(session, home)
        steps = [(block, *step) for block in session for step in block.steps]
        for (block, command, expected), (status, got) in zip(steps, results, strict=False):
            sign = " " if (agree(expected, got) if block.shows_output else status == 0) else "!"
            print(f"{sign} $ {command}\n{got}[{status}]")
        if len(results) != len(steps):
            print(f"! {len(steps) - len(results)} commands did not run")


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1])
