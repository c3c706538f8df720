"""Which cluster, with which key: profiles under `DFS_HOME`, and what wins over them.

A flag wins over the environment (`DFS_MASTER`, `DFS_KEY`, `DFS_PROFILE`), that over the profile, that over the
default. `$DFS_HOME/current` names the profile that is used when nobody names one: the cluster deployed last.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dfs_client.local_files import mapping_os_errors
from dfs_runtime.home import dfs_home
from dfs_wire.errors import NotFoundError, UsageError
from dfs_wire.messages import AddressSet

DEFAULT_MASTER = "127.0.0.1:5000"

#: A profile's name is a file name and a cluster's name: nothing that a shell or a path reads otherwise.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Profile(msgspec.Struct, frozen=True):
    """What a user needs to reach one cluster. Keys are hex text; an exported profile has no admin key."""

    name: str
    master: str
    cluster_id: str
    client_key: str
    admin_key: str | None = None
    address_set: AddressSet = AddressSet.PUBLIC

    def __repr__(self) -> str:
        return f"Profile(name={self.name!r}, master={self.master!r}, keys hidden)"


class Settings(msgspec.Struct, frozen=True):
    """The resolved way to a cluster: the master's `host:port` and the keys as bytes.

    `key` opens a client's connections. With `key_given` it did not come from a profile and may be the admin key.
    """

    master: str
    key: bytes
    admin_key: bytes | None = None
    address_set: AddressSet = AddressSet.PUBLIC
    key_given: bool = False

    def __repr__(self) -> str:
        return f"Settings(master={self.master!r}, keys hidden)"


def check_profile_name(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot name a profile.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a profile; use up to 64 letters, digits, '.', '_' and '-'")
    return name


def profile_path(name: str, home: Path | None = None) -> Path:
    """Where the profile of this name lies, whether it exists or not."""
    return (home or dfs_home()) / "profiles" / f"{check_profile_name(name)}.toml"


def write_profile(profile: Profile, *, home: Path | None = None, make_current: bool = False) -> Path:
    """Write a profile file that only its owner can read; returns its path.

    Raises:
        DfsError: the directory cannot be written.
    """
    # Most programs only read profiles.
    from dfs_runtime.files import make_directory, write_secret

    path = profile_path(profile.name, home)
    with mapping_os_errors(path):
        make_directory(path.parent, mode=0o700)
        write_secret(path, format_profile(profile).encode())
    if make_current:
        set_current_profile(profile.name, home=home)
    return path


def format_profile(profile: Profile) -> str:
    """The TOML text of a profile, as `parse_profile` reads it."""
    # Only who writes a profile needs the library.
    import tomli_w

    fields = {
        "name": profile.name,
        "master": profile.master,
        "cluster_id": profile.cluster_id,
        "client_key": profile.client_key,
        "address_set": profile.address_set.value,
    }
    if profile.admin_key is not None:
        fields["admin_key"] = profile.admin_key
    return tomli_w.dumps(fields)


def parse_profile(text: str, origin: str) -> Profile:
    """Read a profile's TOML text; `origin` is named in errors.

    Raises:
        UsageError: a field is missing or wrong; the message names it, never its value.
    """
    import tomllib

    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin} is not TOML ({error}); export the profile again") from error
    for field in ("name", "master", "cluster_id", "client_key"):
        if not isinstance(fields.get(field), str):
            raise UsageError(f"{origin} has no text field {field!r}; export the profile again")
    try:
        address_set = AddressSet(fields.get("address_set", AddressSet.PUBLIC))
    except ValueError as error:
        raise UsageError(f"{origin}: address_set must be 'public' or 'cluster'") from error
    key_bytes(fields["client_key"], f"client_key in {origin}")
    admin_key = fields.get("admin_key")
    if admin_key is not None:
        key_bytes(admin_key, f"admin_key in {origin}")
    return Profile(
        name=check_profile_name(fields["name"]),
        master=fields["master"],
        cluster_id=fields["cluster_id"],
        client_key=fields["client_key"],
        admin_key=admin_key,
        address_set=address_set,
    )


def read_profile(name: str, *, home: Path | None = None) -> Profile:
    """The profile of this name.

    Raises:
        NotFoundError: there is none.
        UsageError: its file is damaged.
    """
    path = profile_path(name, home)
    try:
        with mapping_os_errors(path):
            text = path.read_text(encoding="utf-8")
    except NotFoundError as error:
        known = ", ".join(profile_names(home=home)) or "none"
        raise NotFoundError(
            f"there is no profile {name!r} (known: {known}); deploy that cluster or name another"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8; export the profile again") from error
    return parse_profile(text, str(path))


def profile_names(*, home: Path | None = None) -> list[str]:
    """The names of all profiles, sorted."""
    directory = (home or dfs_home()) / "profiles"
    try:
        found = [path.stem for path in directory.iterdir() if path.suffix == ".toml"]
    except FileNotFoundError:
        return []
    return sorted(name for name in found if _NAME.fullmatch(name))


def remove_profile(name: str, *, home: Path | None = None) -> None:
    """Forget a profile. One that does not exist is no error.

    If it is the current one, its name stays that: whoever names none is told that it is gone, and never led elsewhere.
    """
    path = profile_path(name, home)
    with mapping_os_errors(path):
        path.unlink(missing_ok=True)


def current_profile(*, home: Path | None = None) -> str | None:
    """The name of the profile that is used when nobody names one; None if there is none."""
    try:
        name = _current_path(home).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if _NAME.fullmatch(name) else None


def set_current_profile(name: str, *, home: Path | None = None) -> None:
    """Use this profile from now on when nobody names one."""
    from dfs_runtime.files import make_directory, write_atomically

    path = _current_path(home)
    with mapping_os_errors(path):
        make_directory(path.parent)
        write_atomically(path, f"{check_profile_name(name)}\n".encode())


def _current_path(home: Path | None) -> Path:
    return (home or dfs_home()) / "current"


def key_bytes(key: bytes | str, what: str) -> bytes:
    """A key as bytes; text is hex.

    Raises:
        UsageError: the text is not hex, or the key is empty. The message does not show it.
    """
    try:
        found = bytes.fromhex(key) if isinstance(key, str) else bytes(key)
    except ValueError as error:
        raise UsageError(f"{what} is not hex text; copy it again") from error
    if not found:
        raise UsageError(f"{what} is empty; copy it again")
    return found


def resolve(
    profile: str | None = None,
    *,
    master: str | None = None,
    key: bytes | str | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settle which cluster is meant. A profile is read only where the address or the key still misses.

    Raises:
        NotFoundError: the profile does not exist, or nothing names a cluster.
        UsageError: a profile, key or address is malformed.
    """
    environ = os.environ if environ is None else environ
    home = home or dfs_home(environ)
    master = master or (None if profile else environ.get("DFS_MASTER")) or None
    key = key or (None if profile else environ.get("DFS_KEY")) or None
    if master is not None and key is not None and profile is None:
        return Settings(_checked_address(master), key_bytes(key, "the key"), key_given=True)
    name = profile or environ.get("DFS_PROFILE") or current_profile(home=home)
    if name is None:
        return _without_profile(master, key)
    found = read_profile(name, home=home)
    return Settings(
        master=_checked_address(master or found.master),
        key=key_bytes(key if key is not None else found.client_key, "the key"),
        admin_key=None if found.admin_key is None else key_bytes(found.admin_key, "the admin key"),
        address_set=found.address_set,
        key_given=key is not None,
    )


def _without_profile(master: str | None, key: bytes | str | None) -> Settings:
    if key is None:
        raise NotFoundError("no cluster is known here; start one with `dfs deploy`, or set DFS_MASTER and DFS_KEY")
    return Settings(_checked_address(master or DEFAULT_MASTER), key_bytes(key, "the key"), key_given=True)


def _checked_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"{address!r} is not an address; write host:port, for example {DEFAULT_MASTER}")
    return address
