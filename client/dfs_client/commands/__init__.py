"""One file per command of `dfs-client`. Each is loaded only when it runs, so they import only what they need."""
