"""`dfs-client sync`: make one tree like another."""

from pathlib import Path

import click

from dfs_client.batch import Batch
from dfs_client.display import visible
from dfs_client.options import ClientCommand
from dfs_client.output import Output
from dfs_client.progress import progress_bar
from dfs_client.session import Session
from dfs_client.sync import SyncItem, SyncPlan, Tree, plan_sync, same_size_and_time
from dfs_client.sync_run import NOTHING_REMOVED, SyncRun
from dfs_client.sync_sides import LocalSide, RemoteSide, local_digest
from dfs_client.sync_targets import Down, Target, Up
from dfs_runtime.words import plural
from dfs_wire.errors import ConflictError, DfsError, UsageError, WrongKindError

#: Marks the remote side.
REMOTE_PREFIX = "dfs:"


@click.command(
    cls=ClientCommand,
    short_help="Make one tree like another.",
    examples=(
        ("dfs-client sync photos dfs:/backup/photos", ""),
        ("dfs-client sync --delete dfs:/backup/photos photos", ""),
    ),
    json_fields=(
        "One object a step: action (replace, make, copy, delete), path (below TARGET), status (done, planned, failed);",
        "what is skipped or refused has no action: path, status (skipped, failed); skipped has reason,",
        "failed has error: {code, message}.",
    ),
)
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--delete", is_flag=True, help="Also remove from TARGET what SOURCE does not have.")
@click.option("--checksum", is_flag=True, help="Compare content (BLAKE3) instead of size and time.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def sync(session: Session, source: str, target: str, delete: bool, checksum: bool, dry_run: bool) -> None:
    """Make the directory TARGET like the directory SOURCE, transferring only what differs.

    Exactly one of the two is remote and written dfs:PATH, the root as dfs:/. What is inside SOURCE goes into TARGET
    itself, which is made if need be. A file counts as equal when size and modification time are equal.

    Symbolic links, pipes, sockets and devices are skipped with a warning, and never removed. Removals come last:
    where anything failed, or SOURCE is empty, nothing is removed from TARGET.
    """
    upward = _is_upward(source, target)
    local_text, remote_text = (source, target) if upward else (target, source)
    if not local_text:
        raise UsageError("the local path is empty; write . for the current directory")
    remote_path = session.remote(remote_text.removeprefix(REMOTE_PREFIX))
    if not upward and Path(local_text).exists() and not Path(local_text).is_dir():
        raise WrongKindError(f"{local_text} is a file; sync works on directories")
    if upward and Path(local_text).is_file():
        raise WrongKindError(f"{local_text} is a file; sync works on directories")
    local = LocalSide(Path(local_text), must_exist=upward)
    names = list(local.items()) if upward and not delete else None
    remote = RemoteSide(session.dfs, remote_path, must_exist=not upward, names=names)
    batch = Batch(session.output, "step")
    may_delete = _report_walk(local, batch, session.output, upward=upward, delete=delete)
    trees = (local.items(), remote.items()) if upward else (remote.items(), local.items())
    same = _SameContent(local, remote, batch) if checksum else same_size_and_time
    plan = plan_sync(*trees, same=same, delete=may_delete)
    if plan.delete and not trees[0]:
        raise ConflictError(
            f"{source} is empty, as a disk that is not mounted is, and --delete would remove all that {target} holds; "
            f"where you mean that, remove it yourself"
        )
    for relative, reason in plan.conflicts:
        batch.add_failed(relative, WrongKindError(reason), {"path": relative})
    if dry_run:
        _show(plan, session.output, removes=not batch.failed)
    else:
        side: Target = Up(session.dfs, local, remote) if upward else Down(session.dfs, local, remote)
        _carry_out(SyncRun(plan, *trees, side, batch), plan, trees[0], session.output)
    batch.finish()


def _is_upward(source: str, target: str) -> bool:
    """Whether the store is the target."""
    remote_sides = [text.startswith(REMOTE_PREFIX) for text in (source, target)]
    if sum(remote_sides) != 1:
        raise UsageError(f"write exactly one of SOURCE and TARGET as {REMOTE_PREFIX}PATH: that one is remote")
    return remote_sides[1]


class _SameContent:
    """Compares by digest. A local file that cannot be read counts as equal: it is listed as failed instead."""

    def __init__(self, local: LocalSide, remote: RemoteSide, batch: Batch) -> None:
        self._local = local
        self._remote = remote
        self._batch = batch

    def __call__(self, source: SyncItem, target: SyncItem) -> bool:
        if source.size != target.size:
            return False
        try:
            return local_digest(self._local.path(source.relative)) == self._remote.entries[source.relative].digest
        except DfsError as error:
            self._batch.add_failed(source.relative, error, {"path": source.relative})
            return True


def _report_walk(local: LocalSide, batch: Batch, output: Output, *, upward: bool, delete: bool) -> bool:
    """Say what the local walk skipped and refused, and whether anything may be removed."""
    if upward:
        for skipped in local.tree.skipped:
            batch.add_skipped(skipped.what, {"path": skipped.relative})
    for refused in local.tree.refused:
        batch.add_failed(str(refused.path), refused.error, {"path": refused.relative})
    if delete and local.tree.refused:
        output.note("warning: nothing is removed, because a part of the local tree cannot be read")
        return False
    return delete


def _show(plan: SyncPlan, output: Output, *, removes: bool) -> None:
    """Say what would be done; without `removes`, nothing goes, and nothing comes in its place."""
    left_out = set() if removes else {*plan.replace, *plan.delete, *plan.successors()}
    steps = (
        ("replace", plan.replace),
        ("make", plan.make),
        ("copy", plan.copy),
        ("delete", plan.delete),
        ("touch", plan.touch),
    )
    for action, relatives in steps:
        for relative in relatives:
            if relative in left_out:
                continue
            if output.json:
                output.record({"action": action, "path": relative, "status": "planned"})
            else:
                output.line(f"{action:<8} {visible(relative)}")
    if left_out:
        output.note(NOTHING_REMOVED)


def _carry_out(run: SyncRun, plan: SyncPlan, source: Tree, output: Output) -> None:
    size = sum(source[relative].size for relative in plan.copy)
    with progress_bar(output, "syncing", files=len(plan.copy), bytes_total=size) as progress:
        run.carry_out(progress, output.note)
    if not output.json:
        copied, made = plural(run.done["copy"], "file"), plural(run.done["make"], "directory")
        output.line(f"synced: {copied} copied, {run.done['delete']} deleted, {made} made")
