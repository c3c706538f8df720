"""What healing must remember: what operators said of nodes, and policies that chunks do not follow yet."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WORD = sa.String(16)


def upgrade() -> None:
    """One step up. There is no way down: a backup is made before."""
    _nodes_have_intents()
    _make_policy_changes()
    _let_replicas_be_deleted()
    _index_surplus_chunks()


def _nodes_have_intents() -> None:
    """A node may be in maintenance, and what was said of it outlives its silence."""
    with op.batch_alter_table("nodes") as nodes:
        nodes.add_column(sa.Column("intent", _WORD, nullable=False, server_default=""))
        nodes.add_column(sa.Column("intent_until", sa.BigInteger(), nullable=False, server_default="0"))
        nodes.drop_constraint(op.f("ck_nodes_state"), type_="check")
        nodes.create_check_constraint(
            op.f("ck_nodes_state"),
            "state IN ('live', 'suspect', 'dead', 'draining', 'failed', 'maintenance')",
        )
        nodes.create_check_constraint(op.f("ck_nodes_intent"), "intent IN ('', 'draining', 'maintenance')")
    op.execute("UPDATE nodes SET intent = 'draining' WHERE state = 'draining'")


def _make_policy_changes() -> None:
    """Directories below which chunks may still have the copies of an older policy."""
    op.create_table(
        "policy_changes",
        sa.Column("entry_id", _ID, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_policy_changes"),
        sqlite_with_rowid=False,
    )


def _let_replicas_be_deleted() -> None:
    """A replica may have the state `deleted`: the table is made anew, because SQLite cannot change a CHECK."""
    op.drop_index("ix_replicas_node_id_state", "replicas")
    op.rename_table("replicas", "replicas_before")
    op.create_table(
        "replicas",
        sa.Column("chunk_id", _ID, autoincrement=False, nullable=False),
        sa.Column("node_id", _ID, autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.Column("verified_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chunk_id", "node_id", name="pk_replicas"),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name="fk_replicas_chunk_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_replicas_node_id"),
        sa.CheckConstraint(
            "state IN ('good', 'bad', 'missing', 'deleting', 'deleted')", name=op.f("ck_replicas_state")
        ),
        sqlite_with_rowid=False,
    )
    columns = "chunk_id, node_id, generation, state, stored_at, verified_at"
    op.execute(f"INSERT INTO replicas ({columns}) SELECT {columns} FROM replicas_before")
    op.drop_table("replicas_before")
    op.create_index("ix_replicas_node_id_state", "replicas", ["node_id", "state"])


def _index_surplus_chunks() -> None:
    where = sa.text("copies_good > copies_wanted AND copies_wanted > 0")
    op.create_index("ix_chunks_surplus", "chunks", ["id"], sqlite_where=where, postgresql_where=where)
