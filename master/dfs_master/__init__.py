"""The master: it keeps the metadata, chooses nodes, and signs tickets. No chunk's bytes pass through it."""
