"""Any sequence of mutations, in groups of any size, does what it does to a dictionary."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.tree_model import Operation, TreeModel, operations
from tests.support.writing import Store, open_store

from dfs_master.catalog.mutations.housekeeping import EmptyRemoved
from dfs_wire.errors import DfsError


def code_of(outcome: object) -> str:
    """The code of a refusal, whether of the whole request or of its one item."""
    if isinstance(outcome, DfsError):
        return outcome.code
    return outcome[0].code if isinstance(outcome, list) else ""


class TreeMachine(RuleBasedStateMachine):
    """A real committer beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(TemporaryDirectory()))
        self.store: Store = self.stack.enter_context(open_store(directory))
        self.model = TreeModel()

    @rule(group=st.lists(operations(), min_size=1, max_size=8))
    def run_group(self, group: list[Operation]) -> None:
        """A group of mutations: each is done or refused as the model says."""
        outcomes = self.store.run(*(operation.mutation() for operation in group))
        expected = [self.model.apply(operation) for operation in group]
        assert [code_of(outcome) for outcome in outcomes] == expected

    @rule(limit=st.integers(1, 5))
    def empty_removed(self, limit: int) -> None:
        """What was removed goes away behind the scenes."""
        self.store.do(EmptyRemoved(limit))

    @invariant()
    def the_tree_is_the_model(self) -> None:
        """Same names, same kinds."""
        assert self.store.paths() == self.model.paths()

    @invariant()
    def each_current_version_has_one_name(self) -> None:
        """A version is current exactly as long as an entry names it; nothing is an orphan."""
        current = "SELECT id FROM versions WHERE removed_at IS NULL"
        named = "SELECT version_id FROM entries WHERE version_id IS NOT NULL"
        assert sorted(self.store.query(current)) == sorted(self.store.query(named))
        assert self.store.query("PRAGMA foreign_key_check") == []

    def teardown(self) -> None:
        """Close the database."""
        self.stack.close()


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
