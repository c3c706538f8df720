"""How any dfs process lives: clock, files, logs, threads, configuration. Imports nothing of ours."""
