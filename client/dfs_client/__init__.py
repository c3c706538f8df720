"""The client: a library that moves bytes straight to and from nodes, and the command `dfs-client`."""
