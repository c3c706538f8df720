"""`dfs-client stat`: everything known of an entry."""

import click

from dfs_client.display import mode_string, octal_mode, utc_time
from dfs_client.entries import holders, stat_record
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.output import Output
from dfs_client.readings import Readings
from dfs_client.session import Session
from dfs_client.types import FileStat
from dfs_runtime.words import plural
from dfs_wire.messages import EntryKind


@click.command(
    cls=ClientCommand,
    short_help="Show everything known of an entry.",
    json_fields=(
        "One object an entry: path, kind, size, modified_at, mode, mtime_ns,",
        "digest, version (both null for a directory), copies_wanted, policy_from (null: the cluster),",
        "copies: [{node, address}],",
        "chunks: [{ordinal, digest, size, offset, length, replicas: [{node, address, state}]}].",
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=REMOTE_PATH)
@click.pass_obj
def stat(session: Session, paths: tuple[str, ...]) -> None:
    """Show size, times, digest, version, policy and chunks of entries, and which nodes hold them.

    The digest is the BLAKE3 of the whole content: what `b3sum` prints.
    A path that fails does not stop the others.
    """
    dfs = session.dfs
    readings = Readings(session.output, [session.remote(path) for path in paths])
    for number, found in enumerate(readings.each(lambda path: [dfs.stat(path, chunks=True)])):
        if session.output.json:
            session.output.record(stat_record(found))
            continue
        if number:
            session.output.line()
        _show(session.output, found)
    readings.finish()


def _show(output: Output, found: FileStat) -> None:
    entry = found.entry
    facts = [
        ("path", entry.path),
        ("kind", str(entry.kind)),
        ("mode", f"{octal_mode(entry.mode)} {mode_string(entry)}"),
        ("modified", utc_time(entry.mtime_ns) or "-"),
        ("copies wanted", f"{found.copies_wanted} (set at {found.policy_from or 'the cluster'})"),
    ]
    if entry.kind is EntryKind.FILE:
        nodes = ", ".join(f"{copy.node} ({copy.address})" for copy in entry.copies or holders(found.chunks))
        facts += [
            ("size", f"{entry.size} bytes"),
            ("digest", entry.digest.hex()),
            ("version", str(entry.version)),
            ("nodes", nodes or "-"),
            ("chunks", plural(len(found.chunks), "chunk")),
        ]
    output.fields(facts)
    for chunk in found.chunks:
        held = ", ".join(f"{replica.node} {replica.state}" for replica in chunk.replicas) or "no node"
        output.line(f"  {chunk.ordinal:>5}  {chunk.digest.hex()[:16]}  {chunk.length:>10} bytes  {held}")
