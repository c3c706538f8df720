"""The storage node: keeps chunks on a volume, hands them out, and tells the master how it is."""
