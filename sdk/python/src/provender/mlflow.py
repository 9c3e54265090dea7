"""MLflow: what a model was trained on, kept with its run, and found again by the model.

Example:
    >>> import mlflow, provender.mlflow
    >>> with mlflow.start_run():
    ...     provender.mlflow.log_training_set(ts)
    ...     model = mlflow.sklearn.log_model(fitted, name="delay")
    >>> trained = provender.mlflow.features_for(model)
    >>> store.get_features(**trained.request, entities=entities).to_pandas()[trained.features]
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

try:
    import mlflow
except ImportError as e:
    raise ImportError("provender.mlflow needs MLflow 3: pip install mlflow") from e

from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import register_dataset_source
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import ModelInfo
from mlflow.pyfunc import PyFuncModel
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

from . import _needs, _tables
from ._errors import InvalidError, NotFoundError, PreconditionError, UnimplementedError
from ._needs import Needs, Output
from ._training import TrainingSet
from .store import Store

__all__ = ["ModelFeatures", "Output", "TrainingSetSource", "features_for", "log_training_set"]

_SOURCE_TYPE = "provender"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_DIGEST_TAG = re.compile(rf"provender\.({_NAME.pattern})\.digest")
_MOST_TAG = 8000  # characters, by MLflow

# What decides the values of a set is hashed; these differ between exports of equal values, and between copies of files.
_INCIDENTAL = ("created_at", "seconds", "provender", "commit")

_TYPES = {
    "bool": DataType.boolean,
    "int32": DataType.integer,
    "int64": DataType.long,
    "float32": DataType.float,
    "float64": DataType.double,
    "string": DataType.string,
    "bytes": DataType.binary,
    "timestamp": DataType.datetime,
}


@dataclass(frozen=True)
class ModelFeatures:
    """The features that a model was trained on.

    Attributes:
        name: What the training set was logged as.
        service: The feature service; None for a list of features.
        features: The names of the features' columns, in the order of the training set.
        outputs: What each of them was: its view and feature, type, default, ttl and keys.
        keys: The request keys, and their types: "int64" or "string".
        time: The spine's time column.
        revision: The revision of the definitions.
        definitions: Their digest, which is equal where definitions are, in any registry.
        digest: Of the training set, as MLflow shows it.
        run_id: The run that it was logged in.
    """

    name: str
    service: str | None
    features: list[str]
    outputs: tuple[Output, ...]
    keys: dict[str, str]
    time: str
    revision: int
    definitions: str
    digest: str
    run_id: str

    @property
    def request(self) -> dict[str, Any]:
        """What names the features in a call: ``store.get_features(**trained.request, entities=…)``."""
        if self.service is not None:
            return {"service": self.service}
        return {"features": [o.feature for o in self.outputs]}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The training set's manifest, with every file that was read; from the run's artifacts, when it is asked for.

        Raises:
            NotFoundError: Where the artifacts do not have it, or can't be reached.
        """
        try:
            manifest: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{self.run_id}/{_manifest_path(self.name)}")
        except Exception as e:  # stores of artifacts raise what their libraries do
            raise NotFoundError(
                f"the manifest of training set {self.name!r} of run {self.run_id} can't be read: {e}",
                fix="see that the run's artifact store is reachable from here; all else is known without it",
            ) from e
        return manifest

    def differences(self, store: Store) -> list[str]:
        """Returns how today's definitions differ from those of the training, by name; empty: not at all.

        Compared are the request's keys and their types, and of each feature its name, place, view, type, default, ttl
        and keys. Where a view's values come from is not: ``definitions`` tells whether anything has changed.
        """
        if self.service is None:
            today = self._listed(store)
        else:
            try:
                today = _needs.needs(store._channel, self.service, ())
            except NotFoundError as e:
                return [str(e)]
        return [*_keys_that_differ(self.keys, today.keys), *_outputs_that_differ(self.outputs, today.features)]

    def _listed(self, store: Store) -> Needs:
        """Returns what there is today of a list of features."""
        keys: dict[str, str] = {}
        found: dict[str, Output] = {}
        for view in dict.fromkeys(o.feature.partition(":")[0] for o in self.outputs):
            features = [o.feature for o in self.outputs if o.feature.startswith(f"{view}:")]
            try:
                needs = _needs.needs(store._channel, None, features)
            except NotFoundError:
                continue  # its features are not among what is found
            keys |= needs.keys
            found |= {o.name: o for o in needs.features}
        return Needs(keys, tuple(found[name] for name in self.features if name in found))

    def check(self, store: Store) -> None:
        """Raises a PreconditionError that names the differences where there are any: before a model is served."""
        found = self.differences(store)
        if found:
            what = f"service {self.service} is" if self.service else "the features are"
            told = "\n  ".join([f"{what} not what the model was trained on (revision {self.revision}):", *found])
            raise PreconditionError(
                told,
                fix="train again, or serve from definitions that have not changed",
            )

    def __repr__(self) -> str:
        """Returns the features, their types and where they are from."""
        return f"{self._title()}\n{_tables.text_table(*self._table())}"

    def _repr_html_(self) -> str:
        return _tables.html_table(*self._table(), caption=self._title())

    def _title(self) -> str:
        of = f"service {self.service}" if self.service else "a list of features"
        keys = ", ".join(f"{name} ({kind})" for name, kind in self.keys.items()) or "none"
        return f"Trained on {of}, revision {self.revision}; keys: {keys}"

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        rows = [[o.name, o.type, o.feature, _value(o.default), o.ttl or "never expires"] for o in self.outputs]
        return ["feature", "type", "from", "default", "ttl"], rows


def log_training_set(ts: TrainingSet, *, name: str = "training") -> ModelFeatures:
    """Logs a training set in the active run of MLflow, which is started where there is none.

    The run gets an input dataset, named after the service, whose context is ``name``; the manifest as an artifact,
    ``provender/NAME.manifest.json``; and tags to search by: ``provender.NAME.service``, ``.features`` ("view:feature"),
    ``.revision``, ``.definitions`` and ``.digest``. The rows are not logged. The tracking server keeps all but the
    manifest: where the artifact store can't be reached, a warning says so, and the features are found all the same.

    Args:
        ts: What ``Store.training_set`` has made.
        name: What it is to the run: "training", "validation". A set that is logged under a name again takes its place.

    Returns:
        What ``features_for`` will find.

    Example:
        >>> mlflow.search_runs(filter_string="tags.`provender.training.features` LIKE '%airport_hourly:mean_delay_1h%'")
    """
    if not _NAME.fullmatch(name):
        raise InvalidError(f"{name!r} can't name a training set", field="name", fix="letters, digits, _ and -")
    dataset = _TrainingSetDataset(ts)
    mlflow.log_input(dataset, context=name)
    tags = {
        "service": ts.service,
        "features": _fitting(dict.fromkeys(o.feature for o in dataset.outputs)),
        "revision": ts.revision,
        "definitions": ts.manifest.get("definitions", ""),
        "digest": dataset.digest,
    }
    mlflow.set_tags({f"provender.{name}.{key}": str(value) for key, value in tags.items() if value is not None})
    run = mlflow.active_run()
    assert run is not None  # log_input has started one
    try:
        mlflow.log_dict(ts.manifest, _manifest_path(name))
    except Exception as e:  # stores of artifacts raise what their libraries do
        warnings.warn(f"the manifest of training set {name!r} was not logged: {e}", stacklevel=2)
    return _read(name, run.info.run_id, dataset.to_dict())


def features_for(model: Any, *, name: str | None = None) -> ModelFeatures:
    """Returns the features that a model was trained on, as ``log_training_set`` has kept them with the model's run.

    Args:
        model: A model's URI ("models:/delay/1", "models:/delay@champion", "models:/m-…", "runs:/…/model", a path), what
            ``log_model`` or ``load_model`` returned, a version of a registered model, a run, or the id of one of them.
        name: Which of the run's training sets; None where all of them have the same features.

    Raises:
        NotFoundError: There is no such model, or no training set was logged with it.
        InvalidError: The run has training sets of different features, and ``name`` does not say which.
    """
    try:
        run_id = _run_of(model)
        if not run_id:
            raise NotFoundError(
                f"the model {model!r} belongs to no run, so that no training set is known",
                fix="log the model in the run that log_training_set logs in",
            )
        run = mlflow.MlflowClient().get_run(run_id)  # a Run is what was known when it was made
    except MlflowException as e:
        raise NotFoundError(f"MLflow does not find {model!r}: {e.message}") from e
    sets = list(_sets_of(run))
    if not sets:
        raise NotFoundError(
            f"run {run_id} has no training set of Provender",
            fix="call provender.mlflow.log_training_set(ts) in the run that trains",
        )
    names = ", ".join(s.name for s in sets)
    if name is not None:
        named = [s for s in sets if s.name == name]
        if not named:
            raise NotFoundError(f"run {run_id} has no training set {name!r}; it has {names}", field="name")
        return named[0]
    if any((s.service, s.outputs, s.keys) != (sets[0].service, sets[0].outputs, sets[0].keys) for s in sets):
        raise InvalidError(
            f"run {run_id} has training sets of different features: {names}",
            field="name",
            fix=f"features_for(…, name={sets[0].name!r})",
        )
    return next((s for s in sets if s.name == "training"), sets[0])


class TrainingSetSource(DatasetSource):
    """Where MLflow says that a training set is from: a service, and the definitions' revision."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Makes a source of its fields."""
        self.fields = dict(fields)

    @staticmethod
    def _get_source_type() -> str:
        return _SOURCE_TYPE

    def load(self) -> Any:
        """Raises: a training set is made again of its spine."""
        raise UnimplementedError("a training set is not kept by MLflow", fix="make it again with store.training_set")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:  # noqa: ARG004
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> TrainingSetSource:
        raise UnimplementedError(f"{raw_source!r} can't be resolved")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields."""
        return self.fields

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> TrainingSetSource:
        """Makes a source of its fields."""
        return cls(source_dict)


register_dataset_source(TrainingSetSource)  # type: ignore[arg-type]  # it takes classes


class _TrainingSetDataset(Dataset):
    """A training set as MLflow has datasets. What may be long is in the profile: a source has 64 KiB at most."""

    def __init__(self, ts: TrainingSet) -> None:
        manifest = ts.manifest
        self.outputs = tuple(_outputs(manifest))
        known = {ts.time: DataType.datetime} | {key: _TYPES[kind] for key, kind in ts.keys.items()}
        self._schema = Schema(
            [
                *(ColSpec(known.get(c) or AnyType(), c, required=False) for c in ts.columns),  # type: ignore[no-untyped-call]
                *(ColSpec(_type(o.type), o.name, required=False) for o in self.outputs),
            ]
        )
        self._profile = {
            "num_rows": len(ts),
            "keys": ts.keys,
            "features": [asdict(o) for o in self.outputs],
            "coverage": {c.name: [c.present, c.null, c.expired, c.not_found] for c in ts.coverage},
        }
        fields = {
            "service": ts.service,
            "revision": ts.revision,
            "definitions": manifest.get("definitions", ""),
            "time": ts.time,
            "timezone": manifest.get("spine", {}).get("timezone", ""),
        }
        self._decides = {k: v for k, v in manifest.items() if k not in _INCIDENTAL}
        self._decides["views"] = [_without_identities(view) for view in manifest.get("views", ())]
        super().__init__(TrainingSetSource(fields), ts.service or "features")

    def _compute_digest(self) -> str:
        text = json.dumps([self._decides, self._schema.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, str]:
        """Returns all that MLflow keeps."""
        schema = json.dumps({"mlflow_colspec": self._schema.to_dict()})
        return {**super().to_dict(), "schema": schema, "profile": json.dumps(self._profile)}

    @property
    def schema(self) -> Schema:
        """The set's columns: the spine's, of which keys and time are known, and the features."""
        return self._schema

    @property
    def profile(self) -> dict[str, Any]:
        """Rows, keys, features, and their cells by status: present, null, expired, not found."""
        return self._profile


def _without_identities(view: Mapping[str, Any]) -> dict[str, Any]:
    files = [{k: v for k, v in file.items() if k != "identity"} for file in view.get("files", ())]
    return {**view, "files": files}


def _outputs(manifest: Mapping[str, Any]) -> Iterator[Output]:
    for f in manifest.get("features", ()):
        view = manifest["views"][f["read"]]
        yield Output(f["name"], f["feature"], f["type"], f.get("default"), view.get("ttl", ""), dict(view["keys"]))


def _type(kind: str) -> DataType | Array:
    listed = kind.removeprefix("list<").removesuffix(">")
    return Array(_TYPES[listed]) if listed != kind else _TYPES[kind]


def _manifest_path(name: str) -> str:
    return f"provender/{name}.manifest.json"


def _fitting(features: Mapping[str, None]) -> str:
    """Returns names with commas between them, as many as a tag takes."""
    text = ", ".join(features)
    return text if len(text) <= _MOST_TAG else text[: text.rindex(",", 0, _MOST_TAG - 2)] + ", …"


def _sets_of(run: Run) -> Iterator[ModelFeatures]:
    """Yields the training sets of a run: the one that was logged last of each name."""
    logged = [i.dataset for i in run.inputs.dataset_inputs] if run.inputs is not None else []
    datasets = {d.digest: d for d in logged if d.source_type == _SOURCE_TYPE}
    for tag, digest in sorted(run.data.tags.items()):
        found = _DIGEST_TAG.fullmatch(tag)
        if found and digest in datasets:
            yield _read(found[1], run.info.run_id, dict(datasets[digest]))


def _read(name: str, run_id: str, dataset: Mapping[str, str]) -> ModelFeatures:
    source, profile = json.loads(dataset["source"]), json.loads(dataset["profile"])
    outputs = tuple(Output(**f) for f in profile["features"])
    return ModelFeatures(
        name=name,
        service=source["service"],
        features=[o.name for o in outputs],
        outputs=outputs,
        keys=profile["keys"],
        time=source["time"],
        revision=source["revision"],
        definitions=source["definitions"],
        digest=dataset["digest"],
        run_id=run_id,
    )


def _run_of(model: Any) -> str | None:
    """Returns the id of the run that a model is from. What it raises is MLflow's."""
    match model:
        case Run():
            return str(model.info.run_id)
        case LoggedModel():
            return model.source_run_id
        case PyFuncModel():
            return _run_of(model.metadata)
        case Model() | ModelInfo() | ModelVersion():
            run_id: str | None = model.run_id
            if run_id or not model.model_id:
                return run_id
            return mlflow.MlflowClient().get_logged_model(model.model_id).source_run_id
        case str():
            return _run_of_text(model)
    raise InvalidError(
        f"a model can't be a {type(model).__name__}",
        field="model",
        fix="give a URI, what log_model returned, a run or its id",
    )


def _run_of_text(uri: str) -> str | None:
    client = mlflow.MlflowClient()
    if _RUN_ID.fullmatch(uri):
        return uri
    if uri.startswith("runs:/"):
        return uri.removeprefix("runs:/").strip("/").split("/")[0]
    registered = uri.startswith("models:/")
    rest = uri.removeprefix("models:/").strip("/")
    if _MODEL_ID.fullmatch(rest):
        return client.get_logged_model(rest).source_run_id
    name, _, version = rest.rpartition("/")
    if registered and name and version.isdecimal():
        return _run_of(client.get_model_version(name, version))
    if registered and "@" in rest:
        return _run_of(client.get_model_version_by_alias(*rest.rsplit("@", 1)))
    return _run_of(mlflow.models.get_model_info(uri))  # paths, and versions that are named otherwise: "latest"


def _keys_that_differ(trained: Mapping[str, str], today: Mapping[str, str]) -> Iterator[str]:
    for key, kind in trained.items():
        if key not in today:
            yield f"request key {key}: it is gone"
        elif today[key] != kind:
            yield f"request key {key}: its type is {today[key]}, was {kind}"
    for key in today:
        if key not in trained:
            yield f"request key {key}: it is new"


def _outputs_that_differ(trained: tuple[Output, ...], today: tuple[Output, ...]) -> Iterator[str]:
    now = {o.name: o for o in today if o.type}
    for was in trained:
        new = now.get(was.name)
        if new is None:
            yield f"{was.name}: it is gone (was {was.feature})"
            continue
        for what, before, after in (
            ("feature", was.feature, new.feature),
            ("type", was.type, new.type),
            ("default", _value(was.default), _value(new.default)),
            ("ttl", was.ttl or "never", new.ttl or "never"),
            ("keys", _binding(was), _binding(new)),
        ):
            if before != after:
                yield f"{was.name}: {what} {after}, was {before}"
    names = {o.name for o in trained}
    yield from (f"{name}: it is new" for name in now if name not in names)
    kept = [o.name for o in trained if o.name in now]
    moved = [name for name in now if name in names]
    if kept != moved:
        yield f"order: {', '.join(moved)}; was {', '.join(kept)}"


def _binding(o: Output) -> str:
    return ", ".join(f"{key} from {column}" for key, column in sorted(o.keys.items())) or "none"


def _value(default: Any) -> str:
    return "none" if default is None else json.dumps(default, ensure_ascii=False)
