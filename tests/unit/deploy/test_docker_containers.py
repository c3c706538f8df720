"""Containers as they are wanted, the compose file of them, and the profile for a client beside them."""

from dataclasses import replace

import pytest
from tests.support.deploy import CREDENTIALS, make_spec

from dfs_deploy.compose import compose_file
from dfs_deploy.containers import (
    LABEL_CONFIG,
    LABEL_ROLE,
    USER,
    ContainerSpec,
    Layout,
    Publish,
    helper_container,
    master_container,
    network_name,
    node_container,
)
from dfs_deploy.profiles import inside_profile, own_address_set, profile_of
from dfs_deploy.spec import ClusterSpec
from dfs_wire.errors import UsageError
from dfs_wire.messages import AddressSet

SPEC = make_spec(engine="docker")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only written down


def master(spec: ClusterSpec = SPEC) -> ContainerSpec:
    """The master of a cluster."""
    return master_container(spec, image="dfs:1", home="/h")


def node(spec: ClusterSpec = SPEC, number: int = 1) -> ContainerSpec:
    """A node of a cluster."""
    return node_container(spec, spec.nodes[number - 1], image="dfs:1", home="/h")


def test_the_line_protocol_is_for_the_gateway_while_published_on_loopback() -> None:
    """Behind an open port the gateway may stand for anybody; switched off is off."""
    assert master().command[-2:] == ("--allow-line-from", "gateway")
    assert "--allow-line-from" not in master(replace(SPEC, listen=EVERYWHERE)).command
    off = master(replace(SPEC, line_protocol=False)).command
    assert "--no-line-protocol" in off
    assert "--allow-line-from" not in off


def test_a_node_has_an_address_inside_and_one_outside() -> None:
    """And a published port of its own."""
    command = node(number=2).command
    assert command[command.index("--cluster-address") + 1] == "dfs-demo-node-2:5000"
    assert command[command.index("--public-address") + 1] == "127.0.0.1:5002"
    assert command[command.index("--master") + 1] == "dfs-demo-master:5000"
    assert node(number=2).publish == Publish("127.0.0.1", 5002)
    outside = node(replace(SPEC, listen=EVERYWHERE, public_host="store.example")).command
    assert outside[outside.index("--public-address") + 1] == "store.example:5001"
    assert node(replace(SPEC, listen="localhost")).publish == Publish("127.0.0.1", 5001)


def test_the_config_label_tells_two_containers_apart() -> None:
    """Whatever differs gives another label; the same gives the same."""
    assert master().config == master().config
    others = [replace(master(), image="dfs:2"), node(), node(number=2)]
    assert len({master().config, *(each.config for each in others)}) == 4
    assert master().all_labels[LABEL_CONFIG] == master().config


def test_a_helper_reaches_nothing() -> None:
    """It has the volume, no network and no port."""
    helper = helper_container(SPEC, "master", image="dfs:1", home="/h", mark="ab")
    assert (helper.name, helper.volume) == ("dfs-demo-helper-ab", "dfs-demo-master")
    assert (helper.network, helper.publish) == (None, None)


def test_a_compose_file_says_all_that_the_engine_is_told() -> None:
    """Every service is hardened, has its volume and its port; nothing in it depends on a network that is there."""
    layout = Layout(
        containers=(master(), node()),
        network=network_name("demo"),
        labels={"dfs.home": "/h: #1"},
    )
    text = compose_file("demo", layout)
    body = [line for line in text.splitlines() if not line.startswith("#")]
    assert body[:2] == ["services:", "  master:"]
    assert text.count("read_only: true") == 2
    assert text.count(f'user: "{USER}"') == 2
    assert text.count('- "no-new-privileges:true"') == 2
    assert '      - "127.0.0.1:5001:5000"' in body
    assert '      - "gateway"' in body
    assert '      dfs.home: "/h: #1"' in body
    assert text.count("external: true") == 2
    assert f"{LABEL_ROLE}: " in text
    assert "ipam" not in text


def test_a_profile_for_a_client_on_the_network() -> None:
    """The inside addresses and no admin key; processes have no such network."""
    profile = inside_profile(SPEC, CREDENTIALS)
    assert (profile.master, profile.address_set) == ("dfs-demo-master:5000", AddressSet.CLUSTER)
    assert profile.admin_key is None
    with pytest.raises(UsageError, match="--inside"):
        inside_profile(make_spec(), CREDENTIALS)


def test_whoever_deployed_containers_uses_the_outside_addresses() -> None:
    """Behind a wildcard too; processes are reached as they reach each other."""
    assert profile_of(replace(SPEC, listen=EVERYWHERE), CREDENTIALS).address_set is AddressSet.PUBLIC
    assert own_address_set(make_spec(listen=EVERYWHERE)) is AddressSet.CLUSTER
    assert own_address_set(make_spec()) is AddressSet.PUBLIC
