"""Remote paths as people write them. Text only: whether a path exists is the master's word."""

from dfs_wire.errors import UsageError
from dfs_wire.paths import split_path

ROOT = "/"


def remote_path(text: str, base: str = ROOT) -> str:
    """The absolute path that `text` means, read from the directory `base`; the leading `/` may be missing.

    Repeated slashes, a trailing one and `.` say nothing and vanish.

    Raises:
        UsageError: the text is empty, or no path that the store takes (`dfs_wire.paths` has the rules).
    """
    if not text:
        raise UsageError("a remote path is empty; write / for the root directory")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if not text.startswith("/"):
        names = [name for name in base.split("/") if name] + names
    path = ROOT + "/".join(names)
    split_path(path)
    return path


def means_directory(text: str) -> bool:
    """Whether the text can only mean a directory: it ends with a slash, or with the name `.`."""
    return text.endswith("/") or last_name(text) == "."


def means_contents(text: str) -> bool:
    """Whether a source means what is inside it rather than itself, as `.`, `src/.`, `..` and `/` do for `cp`."""
    return last_name(text) in ("", ".", "..")


def last_name(text: str) -> str:
    """The last name of a path, remote or local, trailing slashes aside; empty for a root."""
    return text.rstrip("/").rpartition("/")[2]


def join(directory: str, name: str) -> str:
    """`name` (one name or a relative path) inside a directory, remote or local; nothing joined changes nothing."""
    if not name:
        return directory
    return f"{directory}{name}" if directory.endswith("/") else f"{directory}/{name}"


def relative_to(path: str, root: str) -> str:
    """The part of an absolute remote path below `root`, without a leading slash; empty for `root` itself.

    Raises:
        ValueError: the path is not below `root`.
    """
    if path == root:
        return ""
    prefix = root if root == ROOT else root + "/"
    if not path.startswith(prefix):
        raise ValueError(f"{path} is not below {root}")
    return path[len(prefix) :]


def is_utf8(text: str) -> bool:
    """Whether a text from the command line or a local directory came from valid UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
