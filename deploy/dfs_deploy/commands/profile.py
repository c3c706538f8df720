"""`dfs profile`: hand a cluster on to another machine or person."""

import sys
from pathlib import Path

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, PlainCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def profile() -> None:
    """Hand a cluster's profile on to another machine or person."""


@profile.command(cls=ClusterCommand)
@click.option("--inside", is_flag=True, help="For a client in a container on the cluster's own network.")
@pass_session
def export(session: Session, inside: bool) -> None:
    """Print what a second machine or person needs to use the cluster: its address and client key, as TOML.

    It is a secret. `dfs profile import FILE` takes it over there. The right to operate the cluster is not in it.
    """
    from dfs_client.profile import format_profile
    from dfs_deploy.profiles import inside_profile, shared_profile

    spec = session.cluster()
    shared = (inside_profile if inside else shared_profile)(spec, session.store.credentials(spec.name))
    if session.output.json:
        session.output.record(
            {
                "name": shared.name,
                "master": shared.master,
                "cluster_id": shared.cluster_id,
                "client_key": shared.client_key,
                "address_set": shared.address_set.value,
            }
        )
        return
    session.output.line(format_profile(shared).rstrip("\n"))
    if spec.is_loopback and not inside:
        session.say(f"this cluster listens on {spec.listen} only: the profile serves people on this machine")


@profile.command("import", cls=PlainCommand)
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--name", metavar="NAME", help="Another name for it here.")
@pass_session
def import_profile(session: Session, file: Path, name: str | None) -> None:
    """Keep a profile that somebody exported, and use it from now on. `-` reads standard input."""
    from msgspec.structs import replace

    from dfs_client.profile import parse_profile, profile_path, write_profile
    from dfs_wire.errors import AlreadyExistsError

    text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    found = parse_profile(text, "standard input" if str(file) == "-" else str(file))
    if name is not None:
        found = replace(found, name=name)
    if profile_path(found.name, session.home).exists():
        raise AlreadyExistsError(f"There is a profile {found.name!r} already; give this one another --name.")
    path = write_profile(found, home=session.home, make_current=True)
    if session.output.json:
        session.output.record({"name": found.name, "master": found.master, "path": str(path)})
        return
    session.output.line(f"Profile {found.name} is kept in {path}; `dfs-client list` uses it.")
