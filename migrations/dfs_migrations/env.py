"""Run by Alembic, in-process only: the connection comes from `dfs_master.catalog.migrate`, never from a URL."""

from alembic import context
from sqlalchemy import Connection

from dfs_master.catalog.models import Base


def _connection() -> Connection:
    """The caller's connection, in a transaction that the caller began and will commit: one for all steps."""
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection) or not connection.in_transaction():
        raise TypeError("migrations run through dfs_master.catalog.migrate, which hands over a transaction")
    return connection


# Batch: SQLite alters a table by copying it.
context.configure(connection=_connection(), target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()
