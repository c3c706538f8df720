"""`python -m dfs_node` and the `dfs-node` command."""

from dfs_node.cli import main

if __name__ == "__main__":
    main()
