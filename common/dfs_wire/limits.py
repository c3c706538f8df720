"""Every size, count and time that both ends of a connection rely on. The unit comes last in a name."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# -- names -----------------------------------------------------------------------------------------------------

#: Longest name of one entry and longest path, in bytes of UTF-8 (the limits of Linux: NAME_MAX, PATH_MAX - 1).
NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4_095

# -- chunks ----------------------------------------------------------------------------------------------------

DIGEST_BYTES = 32
CHUNK_BYTES_DEFAULT = 8 * MIB
CHUNK_BYTES_MAX = 64 * MIB
#: A version has at most this many extents; larger files get larger chunks (64 MiB x 4096 = 256 GiB), and only
#: files beyond that get more extents.
EXTENTS_SOFT_MAX = 4_096
EXTENTS_MAX = 65_536
#: Range reads are verified in blocks of this size, one CRC32C each.
BLOCK_BYTES = 64 * KIB
COPIES_MAX = 16

# -- frames ----------------------------------------------------------------------------------------------------

#: The msgpack header of one frame.
HEADER_BYTES_MAX = 64 * KIB
#: The same before `Hello` succeeded.
HEADER_BYTES_MAX_BEFORE_HELLO = 4 * KIB
#: A body that carries a list (plan, commit, inventory) rather than a chunk.
LIST_BODY_BYTES_MAX = 8 * MIB
#: A chunk body up to this size is sent right behind its request; a larger one waits for the node's "go on".
EAGER_BODY_BYTES_MAX = 1 * MIB
#: How much is received, hashed, written and forwarded at a time.
STREAM_BLOCK_BYTES = 1 * MIB
#: A peer with more unsent replies than this is not read from until it takes them.
UNSENT_REPLY_BYTES_MAX = 1 * MIB

# -- requests --------------------------------------------------------------------------------------------------

PLAN_CHUNKS_MAX = 8_192
COMMIT_FILES_MAX = 1_000
LIST_PAGE_ENTRIES_MAX = 1_000
#: Paths or versions in one `OpenMany` or `StatMany`.
BATCH_PATHS_MAX = 1_000
#: A version with more extents than this is opened on its own.
BATCH_EXTENTS_MAX = 16
INVENTORY_PAGE_CHUNKS_MAX = 20_000
#: Receipts of one `RenewReceipts`, the bytes of their chunks, which the node reads before it answers, and of the list.
RENEW_RECEIPTS_MAX = 1_000
RENEW_CHUNK_BYTES_MAX = 512 * MIB
RENEW_BODY_BYTES_MAX = 256 * KIB
REQUEST_ID_BYTES = 16

# -- connections -----------------------------------------------------------------------------------------------

CONNECTIONS_MAX = 1_024
CONNECT_SECONDS = 5.0
HELLO_SECONDS = 5.0
IDLE_SECONDS = 300.0
#: A reply to a request without a body must begin within this time.
REPLY_SECONDS = 30.0
#: No-progress deadlines of a chunk stream, by hop, so that the hop behind always gives up before the hop ahead.
STREAM_SECONDS_BY_HOP = (30.0, 20.0, 10.0)
#: How long a client goes on trying to reach a master that went away under an operation.
RETRY_SECONDS = 30.0

# -- tickets and receipts --------------------------------------------------------------------------------------

TICKET_SECONDS = 300
#: A ticket taken ahead lives shorter: its nodes may drain, fill up or go meanwhile.
AHEAD_SECONDS = 60
#: Bytes of all chunks put under one ticket that was taken ahead, and of one of them.
AHEAD_BYTES_MAX = 8 * MIB
AHEAD_CHUNK_BYTES_MAX = 1 * MIB
#: A chunk uses at least so much of a ticket, however small it is.
AHEAD_CHUNK_BYTES_MIN = 4 * KIB
#: Tickets of one `TakeTickets`.
AHEAD_TICKETS_MAX = 16
RECEIPT_SECONDS = 24 * 3_600
#: A chunk that was never committed is kept this long after its last receipt.
ORPHAN_SECONDS = 25 * 3_600
#: The outcome of a mutation is remembered this long under its request id.
REQUEST_MEMORY_SECONDS = 25 * 3_600
#: Superseded and deleted versions stay readable this long.
VERSION_GRACE_SECONDS = 3_600

# -- membership ------------------------------------------------------------------------------------------------

HEARTBEAT_SECONDS = 3.0
#: While orders are likely to come: they reach a node with the reply to its next heartbeat.
BUSY_HEARTBEAT_SECONDS = 0.25
SUSPECT_SECONDS = 15.0
DEAD_SECONDS = 120.0
#: A node that announced its stop (a reboot, an upgrade) is given this long to come back.
LEFT_SECONDS = 1_800.0
#: A node in maintenance is given this long where nobody says how long, and at most so long.
MAINTENANCE_SECONDS = 4 * 3_600
MAINTENANCE_SECONDS_MAX = 7 * 86_400
#: A node that heard nothing from its master for this long takes no tickets: it no longer knows the time.
NODE_BLIND_SECONDS = 300.0


def _check_relations() -> None:
    """Refuse to be imported with limits that contradict each other."""
    relations = {
        "a chunk is a whole number of blocks": CHUNK_BYTES_MAX % BLOCK_BYTES == 0,
        "a default chunk fits": CHUNK_BYTES_DEFAULT <= CHUNK_BYTES_MAX,
        "block CRCs of a chunk fit a header": (CHUNK_BYTES_MAX // BLOCK_BYTES) * 4 < HEADER_BYTES_MAX // 2,
        "a receipt dies before its orphan": RECEIPT_SECONDS < ORPHAN_SECONDS,
        "outcomes outlive receipts": RECEIPT_SECONDS < REQUEST_MEMORY_SECONDS,
        "old versions outlive a ticket": TICKET_SECONDS + 60 <= VERSION_GRACE_SECONDS,
        "hops give up in order": list(STREAM_SECONDS_BY_HOP) == sorted(STREAM_SECONDS_BY_HOP, reverse=True),
        "what is put ahead is sent at once": AHEAD_CHUNK_BYTES_MAX <= EAGER_BODY_BYTES_MAX,
        "any chunk can be renewed": CHUNK_BYTES_MAX <= RENEW_CHUNK_BYTES_MAX,
        "a full list of receipts fits": RENEW_RECEIPTS_MAX * 200 <= RENEW_BODY_BYTES_MAX,
        "suspect before dead": HEARTBEAT_SECONDS < SUSPECT_SECONDS < DEAD_SECONDS < LEFT_SECONDS,
        "busy is sooner than usual": BUSY_HEARTBEAT_SECONDS < HEARTBEAT_SECONDS,
    }
    broken = [claim for claim, holds in relations.items() if not holds]
    if broken:
        raise ValueError(f"limits contradict each other: {broken}")


_check_relations()
