"""What the master says of itself in one word and, where there is something to know, one sentence."""

from collections.abc import Iterable

from dfs_master.membership import KnownNode
from dfs_master.safe_mode import SafeMode

SERVING = "serving"
SAFE_MODE = "safe mode"
READ_ONLY = "read-only"
#: So many nodes are named; of the rest only the number is told.
_NAMED_MAX = 5


def condition(safe_mode: SafeMode, nodes: Iterable[KnownNode]) -> tuple[str, str]:
    """The state and the sentence, which is empty where all is as usual."""
    if held := safe_mode.held:
        return READ_ONLY, held
    if not safe_mode.waiting:
        return SERVING, ""
    nodes = list(nodes)
    missing = safe_mode.missing({node.id for node in nodes if node.heard})
    names = sorted(node.name for node in nodes if node.id in missing)
    if not names:
        # The wait ends with the next look.
        return SAFE_MODE, "the master was started and has heard all its nodes: repair and collection begin in a moment"
    shown = ", ".join(names[:_NAMED_MAX])
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return SAFE_MODE, (
        f"the master was started and has not heard {shown}{more} yet: it serves, but repairs and collects nothing "
        "until then (`dfs repair --force` does not wait)"
    )
