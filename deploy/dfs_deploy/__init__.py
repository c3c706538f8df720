"""Start, change and end clusters: the command `dfs` and the engines behind it."""
