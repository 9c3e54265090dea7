"""What a spine must have for a service's features, and what they will be named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._channel import Channel
from .v1 import registry_pb2

_GET = "/provender.v1.RegistryService/GetDefinition"


@dataclass(frozen=True)
class Needs:
    """What is asked of a spine.

    Attributes:
        keys: The key columns, and their types: "int64" or "string".
        outputs: The names of the features' columns.
    """

    keys: dict[str, str]
    outputs: tuple[str, ...]


def needs(channel: Channel, service: str | None, features: Sequence[str], timeout: float | None = None) -> Needs:
    """Asks the server what a service, or a list of features, needs. What is wrong with the list, the export tells."""
    registry = _Registry(channel, timeout)
    if service is not None:
        parts = registry.get(registry_pb2.DEFINITION_KIND_FEATURE_SERVICE, service).get("features", [])
    else:
        named = [feature.split(":", 1) for feature in features if ":" in feature]
        parts = [{"view": view, "features": [{"name": name}]} for view, name in named]
    keys: dict[str, str] = {}
    outputs: list[str] = []
    for part in parts:
        view = registry.get(registry_pb2.DEFINITION_KIND_FEATURE_VIEW, part["view"])
        join = part.get("join", {})
        for entity in view.get("entities", []):
            for key in registry.get(registry_pb2.DEFINITION_KIND_ENTITY, entity)["join_keys"]:
                keys[join.get(key["name"]) or key["name"]] = key["type"]
        prefix = part.get("prefix", "")
        outputs += [f.get("as") or prefix + f["name"] for f in part.get("features") or view["features"]]
    return Needs(keys, tuple(outputs))


class _Registry:
    """The definitions of one revision: that of the first answer."""

    def __init__(self, channel: Channel, timeout: float | None) -> None:
        self._channel = channel
        self._timeout = timeout
        self._revision = 0
        self._known: dict[tuple[int, str], dict[str, Any]] = {}

    def get(self, kind: registry_pb2.DefinitionKind, name: str) -> dict[str, Any]:
        if (kind, name) not in self._known:
            request = registry_pb2.GetDefinitionRequest(kind=kind, name=name, revision=self._revision)
            answer = self._channel.call(_GET, request, registry_pb2.GetDefinitionResponse, timeout=self._timeout)
            self._revision = answer.revision.number
            self._known[kind, name] = json.loads(answer.definition.json)
        return self._known[kind, name]
