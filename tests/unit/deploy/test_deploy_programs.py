"""How the daemons are started."""

import sys
from pathlib import Path

from dfs_deploy.programs import daemon_environment, program_command


def test_the_script_beside_the_running_python_is_used(tmp_path: Path) -> None:
    """Not whatever PATH has: client, master and node come from one installation."""
    script = tmp_path / "dfs-node"
    script.touch(mode=0o755)
    assert program_command("dfs-node", tmp_path / "python") == [str(script)]


def test_without_a_script_the_package_is_run(tmp_path: Path) -> None:
    """An installation without console scripts works too."""
    python = tmp_path / "python"
    assert program_command("dfs-node", python) == [str(python), "-m", "dfs_node"]
    (tmp_path / "dfs-node").touch(mode=0o644)
    assert program_command("dfs-node", python) == [str(python), "-m", "dfs_node"]
    assert program_command("no-such-program")[0] == sys.executable


def test_a_daemon_gets_no_personal_settings(tmp_path: Path) -> None:
    """Keys least of all; the home is the deployer's."""
    given = {"PATH": "/bin", "DFS_KEY": "k", "DFS_PROFILE": "p", "DFS_MASTER": "m", "DFS_HOME": "elsewhere"}
    assert daemon_environment(given, tmp_path) == {"PATH": "/bin", "DFS_HOME": str(tmp_path)}
