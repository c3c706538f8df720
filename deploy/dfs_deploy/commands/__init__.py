"""One file a command of `dfs`."""
