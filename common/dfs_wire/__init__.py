"""All that two dfs processes must agree on: frames, messages, errors, tickets, limits, and the sockets."""
