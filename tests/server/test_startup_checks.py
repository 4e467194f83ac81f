"""What would keep `serve` from starting: found by `check`, and by `serve` all at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main
from invoke_gateway.control.file_store import FileControlStore
from invoke_gateway.queue.base import CannotOpen
from invoke_gateway.queue.sqlite.file_check import OwnedByAnother, check_file
from invoke_gateway.queue.sqlite.owned_file import OwnedFile
from invoke_gateway.server.startup_checks import StartupChecks, find_mistakes
from invoke_gateway.settings import SettingsError, load
from tests.support.certificates import make_certificate
from tests.support.processes import LOOPBACK, bare_environment, free_port
from tests.support.sockets import gateway as serving

FREE = {"listen": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0"}
QUEUE = "sqs+http://127.0.0.1:4566/000000000000/dead"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)


def write(folder: Path, **settings: Any) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({**FREE, **settings}))
    return file


def check(folder: Path, **settings: Any) -> Result:
    return CliRunner().invoke(main, ["check", str(write(folder, **settings))])


def targets(**urls: str) -> dict[str, Any]:
    return {"default": {"functions": {"report": urls}}}


# ---- what is installed, and what URLs say ---------------------------------------------------------------------


@pytest.mark.usefixtures("without_boto3")
def test_a_queue_among_the_targets_without_the_extra_is_a_mistake_at_its_key(tmp_path: Path) -> None:
    accounts = targets(dead_letter_queue=QUEUE, on_success="file:///a", on_failure=QUEUE)
    result = check(tmp_path, accounts=accounts)
    assert result.exit_code == 2
    assert "2 mistakes" in result.stderr
    for key in ("dead_letter_queue", "on_failure"):
        assert f"accounts.default.functions.report.{key}  ({tmp_path / 'gateway.yaml'}:" in result.stderr
    assert "-> pip install boto3" in result.stderr
    assert check(tmp_path, accounts=accounts, **{"async": {"mode": "forward"}}).exit_code == 0, "none is ever told"


@pytest.mark.usefixtures("without_boto3")
def test_a_reload_that_needs_the_extra_leaves_the_old_limits_in_force(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not installed"):
        load(write(tmp_path, accounts=targets(on_failure=QUEUE)), find_more=find_mistakes)


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("counters", "redis://127.0.0.1:1/0?socket_timeout=abc"),
        ("counters", "redis://127.0.0.1:1/0?foo=1"),
        ("counters", "redis+sentinel://127.0.0.1:1/primary/0?foo=1"),
        ("counters", "redis+cluster://127.0.0.1:1?foo=1"),
        ("async.store", "redis://127.0.0.1:1/0?wait_replicas=many"),
        ("async.store", "redis://127.0.0.1:1/0?health_check_interval=x"),
        ("accounts.default.functions.report.on_success", "redis://127.0.0.1:1/0?stream=x&foo=1"),
    ],
)
def test_a_query_that_no_connection_takes_is_a_mistake_and_no_traceback(tmp_path: Path, key: str, url: str) -> None:
    settings: dict[str, Any] = {key: url}
    if key == "async.store":
        settings = {"async": {"store": url}}
    elif key.startswith("accounts"):
        settings = {"accounts": targets(on_success=url)}
    result = check(tmp_path, **settings)
    assert result.exit_code == 2, result.output
    assert f"{key}  (" in result.stderr
    assert "query parameter" in result.stderr
    assert "1 mistake " in result.stderr
    served = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "gateway.yaml")])
    assert served.exit_code == 2
    assert served.stderr == result.stderr


def test_a_store_url_that_is_understood_is_none(tmp_path: Path) -> None:
    url = "redis://u:p%20w@127.0.0.1:1/0?health_check_interval=30&socket_keepalive=yes"
    result = check(tmp_path, counters=url)
    assert result.exit_code == 0, result.stderr


def test_files_that_a_stores_url_names_are_looked_at(tmp_path: Path) -> None:
    result = check(tmp_path, counters=f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.pem")
    assert result.exit_code == 2
    assert f"none.pem' (ssl_ca_certs), which cannot be read: {os.strerror(errno.ENOENT)}" in result.stderr


def test_a_certificate_and_a_key_that_do_not_belong_together_are_one_mistake(tmp_path: Path) -> None:
    first, second = make_certificate(tmp_path, "127.0.0.1"), make_certificate(tmp_path, "localhost")
    result = check(tmp_path, tls={"certificate": str(first[0]), "key": str(second[1])})
    assert result.exit_code == 2
    assert "certificate and key cannot be used" in result.stderr
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", first[1], "-out", locked],
        check=True,
        capture_output=True,
    )
    result = check(tmp_path, tls={"certificate": str(first[0]), "key": str(locked)})
    assert result.exit_code == 2
    assert "passphrase" in result.stderr


# ---- ports ----------------------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield f"{LOOPBACK}:{listener.getsockname()[1]}"


@pytest.mark.parametrize("key", ["listen", "admin"])
def test_a_port_that_something_else_has_is_a_mistake(tmp_path: Path, key: str, taken: str) -> None:
    result = check(tmp_path, **{key: taken})
    assert result.exit_code == 2
    assert f"cannot listen on {taken} ({key}): {os.strerror(errno.EADDRINUSE)}" in result.stderr
    assert f"-> Choose another address with --{key}" in result.stderr


def test_both_ports_and_a_mistake_in_the_values_are_reported_together(tmp_path: Path, taken: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        address = f"{LOOPBACK}:{other.getsockname()[1]}"
        result = check(tmp_path, listen=taken, admin=address, region="nowhere", tls={"key": "/none"})
    assert result.exit_code == 2
    for key in ("listen", "admin", "region", "tls.certificate", "tls.key"):
        assert f"\n  {key}  (" in result.stderr
    assert "5 mistakes" in result.stderr


def test_of_a_wrong_address_the_default_is_not_tried_in_its_place(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # where something has it already, all the better
            stack.enter_context(socket.create_server((LOOPBACK, 9001)))
        result = check(tmp_path, listen="nothing", admin=f"{LOOPBACK}:0")
    assert "1 mistake " in result.stderr


def test_an_address_that_is_not_of_this_machine_says_what_to_give(tmp_path: Path) -> None:
    result = check(tmp_path, listen="192.0.2.1:0")
    assert result.exit_code == 2
    assert "-> Give an address of this machine with --listen" in result.stderr


def test_two_listeners_of_which_one_is_within_the_other_are_told_apart(tmp_path: Path) -> None:
    port = free_port()
    result = check(tmp_path, listen=f"0.0.0.0:{port}", admin=f"{LOOPBACK}:{port}")
    assert result.exit_code == 2
    assert f"is {LOOPBACK}:{port}, which is also within listen (0.0.0.0:{port})" in result.stderr


def test_a_check_beside_the_gateway_that_runs_with_these_settings_notes_it_and_succeeds(tmp_path: Path) -> None:
    with serving() as running:
        ports = {"listen": str(running.server.listen), "admin": str(running.server.admin)}
        result = check(tmp_path, **ports)
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count("note: cannot listen on") == 2
        assert "running gateway" in result.stderr
        wrong = check(tmp_path, region="nowhere", **ports)
        assert wrong.exit_code == 2
        assert "1 mistake " in wrong.stderr


def test_ports_are_free_again_after_the_check(tmp_path: Path) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    for _ in range(2):
        assert check(tmp_path, listen=address).exit_code == 0


# ---- the store of events --------------------------------------------------------------------------------------


def test_a_check_makes_no_file_and_no_folder(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = check(tmp_path, listen=f"{LOOPBACK}:{free_port()}")
    assert result.exit_code == 0
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "gateway.yaml"]
    check(tmp_path, **{"async": {"store": f"sqlite://{tmp_path}/deep/er/queue.db"}})
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "gateway.yaml"]


def owned(path: Path) -> OwnedFile:
    file = OwnedFile(path)
    file.acquire()
    return file


def test_a_sound_file_is_none_of_the_mistakes_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    owned(path).release()
    before = path.read_bytes(), path.stat().st_mtime_ns
    check_file(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_file_that_a_process_owns_is_named_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    file = owned(path)
    with pytest.raises(OwnedByAnother, match=f"The process {os.getpid()} owns the queue's file"):
        check_file(path)
    result = check(tmp_path, **{"async": {"store": f"sqlite://{path}"}})
    assert result.exit_code == 2
    assert "\n  async.store  (" in result.stderr
    file.release()
    check_file(path)
    owned(path).release()  # the check has left no lock behind


def test_what_is_no_queue_of_ours_is_refused_as_a_start_would_refuse_it(tmp_path: Path) -> None:
    text, empty, foreign, folder = (tmp_path / name for name in ("text", "empty", "foreign", "folder"))
    text.write_text("not a database, but long enough to be read as the head of one" * 4)
    empty.touch()
    folder.mkdir()
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE a (b)")
    connection.close()
    lost = tmp_path / "lost"
    Path(f"{lost}-wal").write_bytes(b"events")
    below = text / "below" / "queue.db"
    for path, why in (
        (text, "no database of SQLite"),
        (empty, "is empty"),
        (foreign, "no queue of this gateway"),
        (folder, "no plain file"),
        (lost, "events that are in no other file"),
        (below, "Not a directory"),
    ):
        with pytest.raises(CannotOpen, match=why):
            check_file(path)
        result = check(tmp_path, **{"async": {"store": f"sqlite://{path}"}})
        assert result.exit_code == 2
        assert "->" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(CannotOpen, match=os.strerror(errno.EACCES)):
        check_file(folder / "queue.db")


def test_a_store_that_is_away_is_a_note_because_serve_starts(tmp_path: Path) -> None:
    result = check(tmp_path, **{"async": {"store": f"redis://:secret@{LOOPBACK}:1/0"}})
    assert result.exit_code == 0
    assert f"note: the event store at redis://{LOOPBACK}:1/0 does not answer" in result.stderr
    assert "secret" not in result.output


# ---- serve ----------------------------------------------------------------------------------------------------


def serve(file: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "invoke_gateway", "serve", "--config", str(file)],
        cwd=file.parent,
        env=bare_environment(file.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def test_serve_logs_all_that_is_in_its_way_a_line_each(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "queue.db"
    lock = owned(path)
    with socket.create_server((LOOPBACK, 0)) as other:
        address = f"{LOOPBACK}:{other.getsockname()[1]}"
        events = {"store": f"sqlite://{path}"}
        status, lines = serve(write(tmp_path, listen=taken, admin=address, **{"async": events}))
    lock.release()
    assert status == 2
    started, *lines = lines
    assert " starts (process " in started
    assert len(lines) == 3, lines
    assert f"cannot listen on {taken} (listen)" in lines[0]
    assert f"cannot listen on {address} (admin)" in lines[1]
    assert f"owns the queue's file {path}" in lines[2]


def test_what_is_in_the_way_is_found_without_a_running_loop_or_leftovers(tmp_path: Path, taken: str) -> None:
    settings = load(write(tmp_path, listen=taken))
    found = [finding.key for finding, _ in StartupChecks().find_obstacles(settings)]
    assert found == ["listen"]
    with open(tmp_path / "gateway.yaml") as file:  # no descriptor of ours has a lock
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---- the control state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 2}'])
def test_a_control_state_that_cannot_be_read_is_found_by_check(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "control.json"
    file.write_bytes(data)
    result = check(tmp_path, control={"store": f"file://{file}"})
    assert result.exit_code == 2
    assert "control.store" in result.output
    assert f"The control state {file}" in " ".join(result.output.split())
    assert file.read_bytes() == data
    assert not Path(f"{file}.lock").exists()


async def test_the_process_that_owns_the_control_state_is_found_by_check(tmp_path: Path) -> None:
    store = FileControlStore(tmp_path / "control.json")
    await store.start()
    settings = load(write(tmp_path, control={"store": f"file://{store.path}"}))
    (found,) = StartupChecks().find_obstacles(settings)
    await store.close()
    assert found[0].key == "control.store"
    assert found[0].message == f"The process {os.getpid()} owns the control state {store.path}"
    assert found[1], "beside the running gateway it is none"
    assert list(StartupChecks().find_obstacles(settings)) == []


# ---- secrets of callers ---------------------------------------------------------------------------------------


def callers(**entry: str) -> dict[str, Any]:
    return {"signatures": "verify", "callers": {"AKIA": {"arn": "arn:aws:iam::111122223333:user/alice", **entry}}}


@pytest.mark.parametrize(
    ("entry", "key", "words"),
    [
        ({"secret": "env:NO_SUCH_SECRET"}, "callers.AKIA.secret", "the variable NO_SUCH_SECRET is not set"),
        ({"secret": "file:{folder}/none"}, "callers.AKIA.secret", "cannot be read: No such file"),
        ({"secret": "file:{folder}/open"}, "callers.AKIA.secret", "may be read or written by every user"),
        ({"secret": "command:no-such-program"}, "callers.AKIA.secret", "'no-such-program' of the command is not found"),
        ({"secret": "env:HOME", "session_token": "env:NO_SUCH"}, "callers.AKIA.session_token", "NO_SUCH is not set"),
    ],
)
def test_check_and_serve_report_a_secret_that_cannot_be_read(
    home: Path, entry: dict[str, str], key: str, words: str
) -> None:
    (home / "open").write_text("secret")
    (home / "open").chmod(0o644)
    settings = callers(**{name: text.format(folder=home) for name, text in entry.items()})
    file = write(home, **settings)
    checked = CliRunner().invoke(main, ["check", str(file)])
    served = CliRunner().invoke(main, ["serve", "--config", str(file)])
    for result in (checked, served):
        text = " ".join(result.stderr.split())
        assert result.exit_code == 2, result.output
        assert f"{file}:" in text, "with its place"
        assert key in text
        assert words in text


def test_check_does_not_run_the_command_that_serve_runs(home: Path) -> None:
    mark = home / "ran"
    settings = load(write(home, **callers(secret=f"command:touch {mark}")), find_more=StartupChecks().find_all)
    assert not mark.exists()
    (finding,) = find_mistakes(settings)
    assert mark.exists()
    assert finding.key == "callers.AKIA.secret"
    assert "gives no secret of AKIA" in finding.message


def test_with_signatures_off_no_secret_is_read(home: Path) -> None:
    load(write(home, **{**callers(secret="env:NO_SUCH_SECRET"), "signatures": "off"}), find_more=find_mistakes)
