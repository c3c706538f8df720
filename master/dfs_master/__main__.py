"""`python -m dfs_master` and the `dfs-master` command.

The one place where the master meets the client library: the line protocol relays through it.
"""

from typing import TYPE_CHECKING

from dfs_runtime.imports import uncollected

if TYPE_CHECKING:
    from dfs_master.line_protocol import LineStore
    from dfs_wire.messages import AddressSet


def _open_store(master: str, key: bytes, address_set: "AddressSet") -> "LineStore":
    from dfs_client.api import connect

    return connect(master=master, key=key, address_set=address_set)


def main() -> None:
    """Run the command."""
    with uncollected():
        from dfs_master.cli import run_command

    run_command(_open_store)


if __name__ == "__main__":
    main()
