"""`check`: a settings file is accepted with a table of its accounts, or refused with all mistakes."""

from pathlib import Path

from tests.cli.commands import invoke


def test_check_says_ok_and_shows_what_each_account_gets(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    ports = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
    file.write_text(ports + 'accounts: {"111122223333": {concurrent_executions: 50, unreserved_floor: 10}}')
    result = invoke("check", str(file))
    assert result.exit_code == 0
    assert result.output.startswith(f"{file}: ok\n")
    rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
    assert ["default", "1000", "0", "0", "1000", "100"] in rows
    assert ["111122223333", "50", "0", "0", "50", "10"] in rows


def test_check_lists_all_mistakes_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlisen: 1\nwatch: 5\n")
    result = invoke("check", str(file))
    assert result.exit_code == 2
    assert "2 mistakes" in result.stderr
    assert invoke("check", str(tmp_path / "none.yaml")).exit_code == 2


def test_check_looks_at_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n")
    assert invoke("check", str(file), MAX_HEADERS="many").exit_code == 0
