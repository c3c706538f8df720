"""The schema's one source: declarative models. Hot paths use `statements`, never objects of these classes.

Times are milliseconds since 1970 in UTC (`…_at`) except file times, which are nanoseconds (`mtime_ns`). Digests
are the 32 raw bytes of BLAKE3. Ids come from blocks that the committer reserves (`settings.next_id`),
so nothing here counts by itself. A new invariant that one row can state belongs into a CHECK.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import DDLCompiler
from sqlalchemy.types import TypeEngine

from dfs_wire.limits import CHUNK_BYTES_MAX, COPIES_MAX, DIGEST_BYTES, REQUEST_ID_BYTES

#: Parent of everything that has a path.
ROOT_ENTRY_ID = 1
#: Hidden parent of removed trees until the collector emptied them. No name leads to it.
REMOVED_ENTRY_ID = 2
#: Copies of everything whose directories do not say otherwise, in a database made without choosing.
COPIES_DEFAULT = 2
#: `versions.removed_at` of a version that lost some of its extents already: nobody may open it any more.
BEING_REMOVED = 0


class NodeState(StrEnum):
    """What the master thinks of a node."""

    LIVE = "live"
    SUSPECT = "suspect"
    DEAD = "dead"
    DRAINING = "draining"
    FAILED = "failed"
    MAINTENANCE = "maintenance"


class NodeIntent(StrEnum):
    """What an operator said of a node. It holds while the node is silent, too, when its state says that."""

    NONE = ""
    #: Its copies move to others, so that it can go.
    DRAINING = "draining"
    #: It may be away for a while: no new data, and nothing is copied because of it.
    MAINTENANCE = "maintenance"


class ChunkState(StrEnum):
    """Whether a chunk may be referred to."""

    STORED = "stored"
    #: Its replicas are being deleted; a commit must not refer to it.
    DELETING = "deleting"


class ReplicaState(StrEnum):
    """What is known of one chunk on one node. Only `good` counts as a copy."""

    GOOD = "good"
    BAD = "bad"
    MISSING = "missing"
    #: A delete of this generation is ordered; a commit refuses receipts at or below it.
    DELETING = "deleting"
    #: The node confirmed that delete. The row stays until every receipt of before has expired: one that came late
    #: would vouch for a file that is gone.
    DELETED = "deleted"


#: States of replicas that are on their way out, or gone.
GOING_STATES = (ReplicaState.DELETING, ReplicaState.DELETED)
#: States of replicas that should be there and well, and are not.
LOST_STATES = (ReplicaState.BAD, ReplicaState.MISSING)


#: SQLite keeps rows by id only where the column's type is exactly INTEGER.
_ID: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
#: Names compare by their bytes everywhere, never by a language's rules.
_NAME: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")

Id = Annotated[int, mapped_column(_ID, primary_key=True, autoincrement=False)]
Reference = Annotated[int, mapped_column(_ID)]
Bytes = Annotated[int, mapped_column(BigInteger)]
Milliseconds = Annotated[int, mapped_column(BigInteger)]
Nanoseconds = Annotated[int, mapped_column(BigInteger)]
Digest = Annotated[bytes, mapped_column(LargeBinary(DIGEST_BYTES))]
Word = Annotated[str, mapped_column(String(16))]


def _one_of(column: str, values: type[StrEnum] | tuple[str, ...]) -> CheckConstraint:
    """A CHECK that a column holds one of a few words."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=column)


def _partial_index(name: str, *columns: str, where: str) -> Index:
    """An index over the few rows that a background task looks for; other rows cost nothing."""
    return Index(name, *columns, sqlite_where=text(where))


@compiles(CreateIndex, "postgresql")
def _create_index(element: CreateIndex, compiler: DDLCompiler, **options: object) -> str:
    """The same condition for PostgreSQL. Named at the index itself, it would load that dialect in each master."""
    own = element.element.dialect_options
    own["postgresql"]["where"] = own["sqlite"]["where"]
    return str(compiler.visit_create_index(element, **options))  # type: ignore[no-untyped-call]


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Node(Base):
    """A registered node. `registration` is the number of its last one: an older one is refused."""

    __tablename__ = "nodes"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(_NAME, unique=True)
    #: Among nodes, and for clients inside the cluster's network.
    address: Mapped[str] = mapped_column(Text)
    public_address: Mapped[str] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text)
    capacity_bytes: Mapped[Bytes]
    used_bytes: Mapped[Bytes]
    state: Mapped[Word]
    volume_state: Mapped[Word]
    filesystem_id: Mapped[str] = mapped_column(Text)
    registration: Mapped[int] = mapped_column(BigInteger)
    #: Written on a change and at most once a minute; the master's memory knows better.
    last_seen_at: Mapped[Milliseconds]
    registered_at: Mapped[Milliseconds]
    intent: Mapped[Word] = mapped_column(server_default="")
    #: When the intent ends by itself; 0 is never.
    intent_until: Mapped[Milliseconds] = mapped_column(server_default="0")

    __table_args__ = (
        _one_of("state", NodeState),
        _one_of("intent", NodeIntent),
        _one_of("volume_state", ("ok", "full", "failed")),
        CheckConstraint("capacity_bytes >= 0 AND used_bytes >= 0", name="bytes"),
    )


class Entry(Base):
    """A name in the tree. A file has a version; a directory has mode, time and perhaps a policy of its own."""

    __tablename__ = "entries"

    id: Mapped[Id]
    #: Null for the root and the hidden parent of removed trees only.
    parent_id: Mapped[int | None] = mapped_column(_ID, ForeignKey("entries.id"))
    name: Mapped[str] = mapped_column(_NAME)
    kind: Mapped[Word]
    #: The current version. No foreign key: versions outlive entries by their grace; `versions.entry_id` leads back.
    version_id: Mapped[int | None] = mapped_column(_ID)
    mode: Mapped[int | None] = mapped_column(Integer)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    #: Copies wanted below this directory; null inherits.
    copies: Mapped[int | None] = mapped_column(SmallInteger)

    __table_args__ = (
        # Also the index of listings and of path look-ups.
        UniqueConstraint("parent_id", "name"),
        _one_of("kind", ("file", "directory")),
        CheckConstraint(
            "(kind = 'file' AND version_id IS NOT NULL AND copies IS NULL)"
            " OR (kind = 'directory' AND version_id IS NULL AND mode IS NOT NULL AND mtime_ns IS NOT NULL)",
            name="shape",
        ),
        CheckConstraint(f"copies BETWEEN 1 AND {COPIES_MAX}", name="copies"),
        CheckConstraint(f"(parent_id IS NULL) = (id IN ({ROOT_ENTRY_ID}, {REMOVED_ENTRY_ID}))", name="parent"),
    )


class Version(Base):
    """One content of a file. `removed_at` is null while it is the current one."""

    __tablename__ = "versions"

    id: Mapped[Id]
    entry_id: Mapped[Reference] = mapped_column(index=True)
    size: Mapped[Bytes]
    #: BLAKE3 of the whole content: what `b3sum` prints.
    digest: Mapped[Digest]
    mtime_ns: Mapped[Nanoseconds]
    mode: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[Milliseconds]
    removed_at: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint(f"length(digest) = {DIGEST_BYTES}", name="digest"),
        _partial_index("ix_versions_removed_at", "removed_at", where="removed_at IS NOT NULL"),
    )


class Chunk(Base):
    """Immutable bytes, named by their digest."""

    __tablename__ = "chunks"

    id: Mapped[Id]
    digest: Mapped[Digest] = mapped_column(unique=True)
    size: Mapped[Bytes]
    #: The most that a version which refers to it asks for; 0 when none does.
    copies_wanted: Mapped[int] = mapped_column(SmallInteger)
    #: Its `good` rows in `replicas`, whatever the state of their nodes.
    copies_good: Mapped[int] = mapped_column(SmallInteger)
    unreferenced_since: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[Word]

    __table_args__ = (
        CheckConstraint(f"size BETWEEN 0 AND {CHUNK_BYTES_MAX}", name="size"),
        CheckConstraint(f"length(digest) = {DIGEST_BYTES}", name="digest"),
        CheckConstraint("copies_wanted >= 0 AND copies_good >= 0", name="counts"),
        _one_of("state", ChunkState),
        _partial_index(
            "ix_chunks_under_replicated", "copies_good", "copies_wanted", where="copies_good < copies_wanted"
        ),
        _partial_index("ix_chunks_unreferenced_since", "unreferenced_since", where="unreferenced_since IS NOT NULL"),
        # More copies than wanted: what trimming looks for. Chunks that nothing refers to want none.
        _partial_index("ix_chunks_surplus", "id", where="copies_good > copies_wanted AND copies_wanted > 0"),
    )


class Extent(Base):
    """A slice of a chunk; the extents of a version by `ordinal` are its content."""

    __tablename__ = "extents"

    version_id: Mapped[Reference] = mapped_column(ForeignKey("versions.id"), primary_key=True, autoincrement=False)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    chunk_id: Mapped[Reference] = mapped_column(ForeignKey("chunks.id"), index=True)
    offset: Mapped[Bytes]
    length: Mapped[Bytes]

    __table_args__ = (
        CheckConstraint('ordinal >= 0 AND "offset" >= 0 AND length > 0', name="slice"),
        {"sqlite_with_rowid": False},
    )


class Replica(Base):
    """One chunk on one node. `generation` fences deletes: one at g removes only files of g or less."""

    __tablename__ = "replicas"

    chunk_id: Mapped[Reference] = mapped_column(ForeignKey("chunks.id"), primary_key=True, autoincrement=False)
    node_id: Mapped[Reference] = mapped_column(ForeignKey("nodes.id"), primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[Word]
    stored_at: Mapped[Milliseconds]
    #: When the node last said that the bytes are right.
    verified_at: Mapped[Milliseconds]

    __table_args__ = (
        _one_of("state", ReplicaState),
        # What a node that went away takes with it.
        Index(None, "node_id", "state"),
        {"sqlite_with_rowid": False},
    )


class Request(Base):
    """What a mutation answered, so that a repeat of it gets the same answer. `outcome` is msgpack."""

    __tablename__ = "requests"

    id: Mapped[bytes] = mapped_column(LargeBinary(REQUEST_ID_BYTES), primary_key=True)
    outcome: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[Milliseconds] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint(f"length(id) = {REQUEST_ID_BYTES}", name="id"),
        {"sqlite_with_rowid": False},
    )


class Credential(Base):
    """A key that opens the cluster, as the BLAKE3 of it; the keys themselves are nowhere in the database."""

    __tablename__ = "credentials"

    id: Mapped[Id]
    role: Mapped[Word]
    digest: Mapped[Digest] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Milliseconds]

    __table_args__ = (
        _one_of("role", ("client", "admin", "join")),
        CheckConstraint(f"length(digest) = {DIGEST_BYTES}", name="digest"),
    )


class Setting(Base):
    """One named value, such as cluster_id, epoch, commit_seq, next_id, copies."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    value: Mapped[str] = mapped_column(Text)

    __table_args__ = ({"sqlite_with_rowid": False},)


class PolicyChange(Base):
    """A directory below which chunks may not have the copies of its policy yet. `at`: when it was set last."""

    __tablename__ = "policy_changes"

    #: No foreign key: the directory may be removed first.
    entry_id: Mapped[Id]
    at: Mapped[Milliseconds]

    __table_args__ = ({"sqlite_with_rowid": False},)


class Event(Base):
    """Something that happened, to what, and why. `detail` is a JSON object."""

    __tablename__ = "events"

    id: Mapped[Id]
    at: Mapped[Milliseconds]
    kind: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
