"""A compose file of a cluster. Pure: the same containers that the engine over Docker makes, over the same volumes."""

import json
from collections.abc import Iterator, Mapping

from dfs_deploy.containers import (
    DATA,
    INSIDE_PORT,
    LABEL_ROLE,
    LOG_OPTIONS,
    MEMORY_BYTES_MAX,
    PIDS_MAX,
    STOP_SECONDS,
    TMP_OPTIONS,
    USER,
    ContainerSpec,
    Layout,
)
from dfs_deploy.spec import MASTER, join_address

_INDENT = "  "


def compose_file(cluster: str, layout: Layout) -> str:
    """The text. It says `external` of the volumes: they hold the cluster's data and keys and are there already."""
    content = {
        "services": {each.labels[LABEL_ROLE]: _service(each) for each in layout.containers},
        "networks": {"cluster": {"name": layout.network, "labels": dict(layout.labels)}},
        "volumes": {each.labels[LABEL_ROLE]: {"external": True, "name": each.volume} for each in layout.containers},
    }
    head = (
        f"# Cluster {cluster!r} of dfs, as `dfs export compose` wrote it.\n"
        f"# `dfs destroy --name {cluster}` removes the containers that run now and keeps the volumes;\n"
        "# then `docker compose -f THIS-FILE up -d` starts the same cluster over them.\n"
    )
    return head + "\n".join(_yaml(content, 0)) + "\n"


def _service(container: ContainerSpec) -> dict[str, object]:
    role = container.labels[LABEL_ROLE]
    service: dict[str, object] = {
        "image": container.image,
        "container_name": container.name,
        "hostname": container.hostname,
        "command": list(container.command),
        "labels": container.all_labels,
        "networks": ["cluster"],
        "volumes": [f"{role}:{DATA}"],
        "user": USER,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": PIDS_MAX,
        "mem_limit": MEMORY_BYTES_MAX,
        "memswap_limit": MEMORY_BYTES_MAX,
        "tmpfs": [f"/tmp:{TMP_OPTIONS}"],  # noqa: S108 - inside the container
        "restart": "unless-stopped",
        "stop_grace_period": f"{STOP_SECONDS}s",
        "logging": {"driver": "json-file", "options": dict(LOG_OPTIONS)},
    }
    if container.publish is not None:
        service["ports"] = [f"{join_address(container.publish.host, container.publish.port)}:{INSIDE_PORT}"]
    if role != MASTER:
        service["depends_on"] = [MASTER]
    return service


def _yaml(value: object, depth: int) -> Iterator[str]:
    """Lines of YAML: mappings and lists as blocks, everything else as JSON, which YAML takes."""
    pad = _INDENT * depth
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                yield f"{pad}{_scalar_key(str(key))}:"
                yield from _yaml(inner, depth + 1)
            else:
                yield f"{pad}{_scalar_key(str(key))}: {json.dumps(inner)}"
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping):
                first, *rest = _yaml(inner, depth + 1)
                yield f"{pad}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{pad}- {json.dumps(inner)}"


def _scalar_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").replace(".", "").isalnum() else json.dumps(key)
