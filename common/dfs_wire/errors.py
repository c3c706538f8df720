"""The error tree. An error keeps its kind across the network: code and details go out, the same class comes back.

    DfsError
    ├── UsageError                 usage              2
    ├── NotFoundError              not_found          3
    │   └── VersionGoneError       version_gone       3
    ├── ConflictError              conflict           4
    │   ├── AlreadyExistsError     exists             4
    │   ├── NotEmptyError          not_empty          4
    │   ├── WrongKindError         wrong_kind         4
    │   └── SourceChangedError     source_changed     4
    ├── UnavailableError           unavailable        5   retryable
    │   ├── ConnectFailedError     connect_failed     5   retryable
    │   ├── TimedOutError          timed_out          5   retryable
    │   ├── BusyError              busy               5   retryable
    │   ├── TooFewNodesError       too_few_nodes      5   retryable
    │   ├── ChunksMissingError     chunks_missing     5   retryable
    │   ├── RolledBackError        rolled_back        1
    │   └── ReadOnlyError          read_only          5
    ├── NoSpaceError               no_space           5
    ├── NotAllowedError            not_allowed        6
    │   ├── BadCredentialError     bad_credential     6
    │   └── BadTicketError         bad_ticket         6   retryable (a fresh ticket may do)
    ├── CorruptError               corrupt            7
    │   └── ChunkCorruptError      chunk_corrupt      7
    ├── VolumeFailedError          volume_failed      5
    ├── VolumeInUseError           volume_in_use      5
    ├── VolumeForeignError         volume_foreign     1
    ├── SchemaError                schema             1
    ├── ProtocolError              protocol           1
    │   └── TooLargeError          too_large          1
    ├── InterruptedByUserError     interrupted      130
    └── InternalError              internal           1

The number is the exit code of a command that ends with the error.
"""

from typing import Any, ClassVar

#: Plain values only (str, int, bool, bytes, lists of them): details cross the wire as msgpack.
Details = dict[str, Any]


class DfsError(Exception):
    """Anything that dfs reports to its user: one sentence that says what to do, and a stable code."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    #: Whether the same request may succeed when it is sent again.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:  # noqa: ANN401 - plain wire values
        super().__init__(message)
        self.message = message
        self.details: Details = details

    def __str__(self) -> str:
        return self.message


class UsageError(DfsError):
    """The request itself makes no sense; sending it again cannot help."""

    code = "usage"
    exit_code = 2


class NotFoundError(DfsError):
    """The name, chunk, node or cluster does not exist."""

    code = "not_found"
    exit_code = 3


class VersionGoneError(NotFoundError):
    """A version was superseded or deleted, and its hour of grace is over."""

    code = "version_gone"


class ConflictError(DfsError):
    """The target is not what the request expected."""

    code = "conflict"
    exit_code = 4


class AlreadyExistsError(ConflictError):
    """The target exists and the request asked for an absent one."""

    code = "exists"


class NotEmptyError(ConflictError):
    """A directory that holds something was to be removed or replaced."""

    code = "not_empty"


class WrongKindError(ConflictError):
    """A file where a directory is needed, or the other way round."""

    code = "wrong_kind"


class SourceChangedError(ConflictError):
    """A local file changed while it was read; nothing was committed."""

    code = "source_changed"


class UnavailableError(DfsError):
    """Not now: something that is needed does not answer."""

    code = "unavailable"
    exit_code = 5
    retryable = True


class ConnectFailedError(UnavailableError):
    """No connection to a master or node, or it broke."""

    code = "connect_failed"


class TimedOutError(UnavailableError):
    """A deadline passed."""

    code = "timed_out"


class BusyError(UnavailableError):
    """All slots are taken; wait a moment and try again."""

    code = "busy"


class TooFewNodesError(UnavailableError):
    """Fewer usable nodes than copies wanted."""

    code = "too_few_nodes"


class ChunksMissingError(UnavailableError):
    """`Commit` found chunks without enough copies; details: `digests`, to be planned again."""

    code = "chunks_missing"


class ReadOnlyError(UnavailableError):
    """The master refuses every change, and says why."""

    code = "read_only"
    retryable = False


class RolledBackError(UnavailableError):
    """What was begun did not come up and was taken back: nothing changed."""

    code = "rolled_back"
    exit_code = 1
    retryable = False


class NoSpaceError(DfsError):
    """A volume is too full to take the bytes."""

    code = "no_space"
    exit_code = 5


class NotAllowedError(DfsError):
    """The credential does not carry the right."""

    code = "not_allowed"
    exit_code = 6


class BadCredentialError(NotAllowedError):
    """The key or token is not one of this cluster's."""

    code = "bad_credential"


class BadTicketError(NotAllowedError):
    """A ticket or receipt is expired, altered, or made for something else."""

    code = "bad_ticket"
    retryable = True


class CorruptError(DfsError):
    """Stored bytes are not what was stored."""

    code = "corrupt"
    exit_code = 7


class ChunkCorruptError(CorruptError):
    """One chunk file failed its verification; details: `digest`, `finding`."""

    code = "chunk_corrupt"


class VolumeFailedError(DfsError):
    """A volume had an I/O error and takes nothing until a full verifying pass."""

    code = "volume_failed"
    exit_code = 5


class VolumeInUseError(DfsError):
    """Another process holds the directory."""

    code = "volume_in_use"
    exit_code = 5


class VolumeForeignError(DfsError):
    """The directory is not the volume that was expected there."""

    code = "volume_foreign"


class SchemaError(DfsError):
    """The metadata database does not fit this program."""

    code = "schema"


class ProtocolError(DfsError):
    """The peer broke the protocol; the connection is closed."""

    code = "protocol"


class TooLargeError(ProtocolError):
    """A frame, header, body or list is over its limit."""

    code = "too_large"


class InterruptedByUserError(DfsError):
    """Ctrl-C."""

    code = "interrupted"
    exit_code = 130


class InternalError(DfsError):
    """A fault of ours; the server's log has the details under the request id."""

    code = "internal"


def _tree(root: type[DfsError]) -> list[type[DfsError]]:
    """A class and all below it, in the order of their definition."""
    return [root] + [found for child in root.__subclasses__() for found in _tree(child)]


#: code -> class, for errors that come from the wire.
ERRORS: dict[str, type[DfsError]] = {kind.code: kind for kind in _tree(DfsError)}


def error_from_wire(code: str, message: str, details: Details) -> DfsError:
    """Rebuild an error that a peer sent. A code that this version does not know becomes a plain `DfsError`."""
    error = ERRORS.get(code, DfsError)(message)
    # Not as keyword arguments: a peer may use any name, `message` too.
    error.details = dict(details)
    return error
