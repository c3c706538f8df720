"""`dfs settings`: times and limits that hold for the whole cluster."""

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def settings() -> None:
    """See and change the times and limits of a cluster; a change holds at once, and for good."""


@settings.command("list", cls=ClusterCommand)
@pass_session
def list_settings(session: Session) -> None:
    """List every setting with its value and what it does. The unit comes last in a name."""
    from dfs_client.output import Column
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        items = dfs.admin.settings()
    if session.output.json:
        for item in items:
            session.output.record(
                {
                    "name": item.name,
                    "value": item.value,
                    "default": item.default,
                    "least": item.low,
                    "most": item.high,
                    "meaning": item.text,
                }
            )
        return
    columns = [Column("NAME"), Column("VALUE", right=True), Column("DEFAULT", right=True), Column("MEANING")]
    rows = ([item.name, number_text(item.value), number_text(item.default), item.text] for item in items)
    session.output.table(columns, rows)


@settings.command("set", cls=ClusterCommand)
@click.argument("setting", metavar="NAME")
@click.argument("value", metavar="VALUE")
@pass_session
def set_setting(session: Session, setting: str, value: str) -> None:
    """Set NAME to VALUE for the whole cluster."""
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        dfs.admin.set_setting(setting, value)
        now = {item.name: item.value for item in dfs.admin.settings()}[setting]
    if session.output.json:
        session.output.record({"name": setting, "value": now})
    else:
        session.output.line(f"{setting} is {number_text(now)}.")


def number_text(value: float) -> str:
    """A number as people write it: no fraction where there is none."""
    return str(int(value)) if value == int(value) else str(value)
