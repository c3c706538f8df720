"""SQLite's own, as far as SQL goes: what statements are compiled for, and the functions of views."""

from pathlib import Path

from sqlalchemy import URL, Text
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from dfs_master.catalog.sqlite import database_uri

#: What statements are compiled for.
DIALECT: Dialect = sqlite_dialect()


def database_url(path: Path, *, read_only: bool) -> URL:
    """`database_uri` for SQLAlchemy."""
    return URL.create("sqlite", database=database_uri(path, read_only=read_only), query={"uri": "true"})


class HexText(FunctionElement[str]):
    """Bytes as lower-case hex digits."""

    type = Text()
    inherit_cache = True


class UtcText(FunctionElement[str]):
    """Milliseconds since 1970 as RFC 3339 in UTC."""

    type = Text()
    inherit_cache = True


class OctalText(FunctionElement[str]):
    """Permission bits as `chmod` takes them."""

    type = Text()
    inherit_cache = True


@compiles(HexText, "sqlite")
def _hex_text(element: HexText, compiler: SQLCompiler, **options: object) -> str:
    return f"lower(hex({compiler.process(element.clauses, **options)}))"


@compiles(UtcText, "sqlite")
def _utc_text(element: UtcText, compiler: SQLCompiler, **options: object) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', ({compiler.process(element.clauses, **options)}) / 1000.0, 'unixepoch')"


@compiles(OctalText, "sqlite")
def _octal_text(element: OctalText, compiler: SQLCompiler, **options: object) -> str:
    return f"printf('%04o', {compiler.process(element.clauses, **options)})"
