"""Measurements of a real cluster on this machine; see docs/performance.md."""
