"""`python -m dfs_node` and the `dfs-node` command."""

from dfs_runtime.imports import uncollected


def main() -> None:
    """Run the command."""
    with uncollected():
        from dfs_node.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
