"""What features are and need, by the definitions: key columns, names, types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._channel import Channel
from .v1 import registry_pb2

_GET = "/provender.v1.RegistryService/GetDefinition"


@dataclass(frozen=True)
class Output:
    """One feature of a service, or of a list.

    Attributes:
        name: The column's name.
        feature: "view:feature".
        type: "int64", "list<int32>".
        default: What stands in for EXPIRED and NOT_FOUND; None for null.
        ttl: "6h"; empty where rows never expire.
        keys: The view's join keys, and the columns that they are read from.
    """

    name: str
    feature: str
    type: str
    default: Any
    ttl: str
    keys: dict[str, str]


@dataclass(frozen=True)
class Needs:
    """What is asked of a spine, or of a request.

    Attributes:
        keys: The key columns, and their types: "int64" or "string".
        features: What comes of it, in order.
    """

    keys: dict[str, str]
    features: tuple[Output, ...]

    @property
    def outputs(self) -> list[str]:
        """The names of the features' columns."""
        return [f.name for f in self.features]


def needs(channel: Channel, service: str | None, features: Sequence[str], timeout: float | None = None) -> Needs:
    """Asks the server what a service, or a list of features, needs. What is wrong with the list, the export tells."""
    registry = _Registry(channel, timeout)
    if service is not None:
        parts = registry.get(registry_pb2.DEFINITION_KIND_FEATURE_SERVICE, service).get("features", [])
    else:
        named = [feature.split(":", 1) for feature in features if ":" in feature]
        parts = [{"view": view, "features": [{"name": name}]} for view, name in named]
    keys: dict[str, str] = {}
    outputs: list[Output] = []
    for part in parts:
        view = registry.get(registry_pb2.DEFINITION_KIND_FEATURE_VIEW, part["view"])
        join, bound = part.get("join", {}), {}
        for entity in view.get("entities", []):
            for key in registry.get(registry_pb2.DEFINITION_KIND_ENTITY, entity)["join_keys"]:
                bound[key["name"]] = join.get(key["name"]) or key["name"]
                keys[bound[key["name"]]] = key["type"]
        declared = {f["name"]: f for f in view["features"]}
        for f in part.get("features") or view["features"]:
            known = declared.get(f["name"], {})
            outputs.append(
                Output(
                    name=f.get("as") or part.get("prefix", "") + f["name"],
                    feature=f"{part['view']}:{f['name']}",
                    type=known.get("type", ""),
                    default=known.get("default"),
                    ttl=_duration(view.get("ttl", 0)),
                    keys=bound,
                )
            )
    return Needs(keys, tuple(outputs))


def _duration(ns: int) -> str:
    """Returns a duration as definitions and manifests have it: "1d12h"; empty for none."""
    parts = []
    for name, unit in _UNITS:
        n, ns = divmod(ns, unit)
        if n:
            parts.append(f"{n}{name}")
    return "".join(parts)


_UNITS = (
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
)


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
