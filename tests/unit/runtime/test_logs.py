"""Logs: one JSON object a line, rotated, with the fields that the caller gave."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dfs_runtime import logs
from dfs_runtime.logs import configure_logs


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    """Other tests keep their handlers."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def records(path: Path) -> list[dict[str, object]]:
    """The lines of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_is_one_line_of_json(tmp_path: Path) -> None:
    """Time, level, logger, thread, message, then the fields; line breaks stay inside the string."""
    path = tmp_path / "deep" / "log"
    configure_logs(file=path)
    logging.getLogger("dfs.test").warning("two\nlines of %s", "text", extra={"peer": "1.2.3.4:5", "digest": b"\xff"})
    (record,) = records(path)
    datetime.fromisoformat(str(record.pop("at")))
    assert record == {
        "level": "warning",
        "logger": "dfs.test",
        "thread": "MainThread",
        "message": "two\nlines of text",
        "peer": "1.2.3.4:5",
        "digest": "b'\\xff'",
    }


def test_an_exception_is_a_field(tmp_path: Path) -> None:
    """The trace stays in its record."""
    path = tmp_path / "log"
    configure_logs(file=path)
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        logging.getLogger("dfs.test").exception("it failed")
    (record,) = records(path)
    assert "ZeroDivisionError: by nothing" in str(record["exception"])


def test_names_that_are_not_utf8_are_written_as_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file name with a stray byte neither loses its record nor prints a trace."""
    path = tmp_path / "log"
    configure_logs(file=path)
    logging.getLogger("dfs.test").warning("cannot read %s", "caf\udce9")
    assert "caf\\udce9" in path.read_text()
    assert capsys.readouterr().err == ""


def test_levels(tmp_path: Path) -> None:
    """What is below the level is not written."""
    path = tmp_path / "log"
    configure_logs(file=path, level="WARNING")
    logging.getLogger("dfs.test").info("quiet")
    logging.getLogger("dfs.test").error("loud")
    assert [record["message"] for record in records(path)] == ["loud"]


def test_files_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file makes room; only so many old ones are kept, and no line is cut."""
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 2_000)
    monkeypatch.setattr(logs, "LOG_FILES_KEPT", 2)
    path = tmp_path / "log"
    configure_logs(file=path)
    for number in range(100):
        logging.getLogger("dfs.test").info("number %d", number)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2"]
    assert all(entry.stat().st_size <= 2_000 for entry in tmp_path.iterdir())
    numbers = [str(record["message"]) for name in reversed(names) for record in records(tmp_path / name)]
    assert numbers == [f"number {number}" for number in range(100 - len(numbers), 100)]


def test_configured_twice_is_configured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last word holds, and each record is written once."""
    path = tmp_path / "log"
    configure_logs(file=None)
    configure_logs(file=path)
    configure_logs(file=path)
    logging.getLogger("dfs.test").info("once")
    assert len(records(path)) == 1
    assert capsys.readouterr().err == ""
    configure_logs(file=None)
    logging.getLogger("dfs.test").info("to the terminal")
    assert json.loads(capsys.readouterr().err)["message"] == "to the terminal"
