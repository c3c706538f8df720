"""`dfs fsck`: compares the catalog with the volumes, by code of its own.

    volume_files.py   reads a volume as `docs/storage-format.md` describes it
    scan.py           the program that runs where a volume is and lists what it holds
    evidence.py       a backup of the catalog and the scans, side by side in one SQLite connection
    compare.py        what is wrong, and which files it concerns
    check.py          one whole check of a cluster, and the mending after it

Nothing here uses the servers' code, so that it can be the oracle in their tests. It changes nothing itself.
"""
