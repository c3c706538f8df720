"""How people write what is counted."""


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 file`, `2 files`, `3 copies`. The last word is the one that changes."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith(("ry", "py")) else f"{count} {noun}s"
