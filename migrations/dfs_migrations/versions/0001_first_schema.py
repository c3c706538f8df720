"""First schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_DIGEST = sa.LargeBinary(32)
_WORD = sa.String(16)


def upgrade() -> None:
    """One step up. There is no way down: a backup is made before."""
    _make_tree()
    _make_content()
    _make_nodes()
    _make_records()


def _make_tree() -> None:
    entries = op.create_table(
        "entries",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("parent_id", _ID),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("version_id", _ID),
        sa.Column("mode", sa.Integer()),
        sa.Column("mtime_ns", sa.BigInteger()),
        sa.Column("copies", sa.SmallInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint("parent_id", "name", name="uq_entries_parent_id_name"),
        sa.ForeignKeyConstraint(["parent_id"], ["entries.id"], name="fk_entries_parent_id"),
        sa.CheckConstraint("kind IN ('file', 'directory')", name=op.f("ck_entries_kind")),
        sa.CheckConstraint(
            "(kind = 'file' AND version_id IS NOT NULL AND copies IS NULL)"
            " OR (kind = 'directory' AND version_id IS NULL AND mode IS NOT NULL AND mtime_ns IS NOT NULL)",
            name=op.f("ck_entries_shape"),
        ),
        sa.CheckConstraint("copies BETWEEN 1 AND 16", name=op.f("ck_entries_copies")),
        sa.CheckConstraint("(parent_id IS NULL) = (id IN (1, 2))", name=op.f("ck_entries_parent")),
    )
    op.bulk_insert(
        entries,
        [
            {"id": 1, "parent_id": None, "name": "", "kind": "directory", "mode": 0o755, "mtime_ns": 0},
            {"id": 2, "parent_id": None, "name": "removed", "kind": "directory", "mode": 0o755, "mtime_ns": 0},
        ],
    )
    op.create_table(
        "versions",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.CheckConstraint("size >= 0", name=op.f("ck_versions_size")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_versions_digest")),
    )
    op.create_index("ix_versions_entry_id", "versions", ["entry_id"])
    _make_partial_index("ix_versions_removed_at", "versions", ["removed_at"], "removed_at IS NOT NULL")


def _make_content() -> None:
    op.create_table(
        "chunks",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("copies_wanted", sa.SmallInteger(), nullable=False),
        sa.Column("copies_good", sa.SmallInteger(), nullable=False),
        sa.Column("unreferenced_since", sa.BigInteger()),
        sa.Column("state", _WORD, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chunks"),
        sa.UniqueConstraint("digest", name="uq_chunks_digest"),
        sa.CheckConstraint("size BETWEEN 0 AND 67108864", name=op.f("ck_chunks_size")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_chunks_digest")),
        sa.CheckConstraint("copies_wanted >= 0 AND copies_good >= 0", name=op.f("ck_chunks_counts")),
        sa.CheckConstraint("state IN ('stored', 'deleting')", name=op.f("ck_chunks_state")),
    )
    _make_partial_index(
        "ix_chunks_under_replicated", "chunks", ["copies_good", "copies_wanted"], "copies_good < copies_wanted"
    )
    _make_partial_index(
        "ix_chunks_unreferenced_since", "chunks", ["unreferenced_since"], "unreferenced_since IS NOT NULL"
    )
    op.create_table(
        "extents",
        sa.Column("version_id", _ID, autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chunk_id", _ID, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "ordinal", name="pk_extents"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_extents_version_id"),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name="fk_extents_chunk_id"),
        sa.CheckConstraint('ordinal >= 0 AND "offset" >= 0 AND length > 0', name=op.f("ck_extents_slice")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_extents_chunk_id", "extents", ["chunk_id"])


def _make_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("public_address", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("volume_state", _WORD, nullable=False),
        sa.Column("filesystem_id", sa.Text(), nullable=False),
        sa.Column("registration", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
        sa.CheckConstraint("state IN ('live', 'suspect', 'dead', 'draining', 'failed')", name=op.f("ck_nodes_state")),
        sa.CheckConstraint("volume_state IN ('ok', 'full', 'failed')", name=op.f("ck_nodes_volume_state")),
        sa.CheckConstraint("capacity_bytes >= 0 AND used_bytes >= 0", name=op.f("ck_nodes_bytes")),
    )
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
        sa.CheckConstraint("state IN ('good', 'bad', 'missing', 'deleting')", name=op.f("ck_replicas_state")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_replicas_node_id_state", "replicas", ["node_id", "state"])


def _make_records() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sa.CheckConstraint("length(id) = 16", name=op.f("ck_requests_id")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_requests_at", "requests", ["at"])
    op.create_table(
        "credentials",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("role", _WORD, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.UniqueConstraint("digest", name="uq_credentials_digest"),
        sa.CheckConstraint("role IN ('client', 'admin', 'join')", name=op.f("ck_credentials_role")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_credentials_digest")),
    )
    op.create_table(
        "settings",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )


def _make_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
