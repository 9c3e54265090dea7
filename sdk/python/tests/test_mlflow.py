"""MLflow, the real package, with a database of its own: what a model was trained on, kept and found again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from conftest import Project, Server
from mlflow.types import Schema

import provender
import provender.mlflow
from provender.mlflow import ModelFeatures, features_for, log_training_set

SERVICE = "delay_model_v1"
AD_HOC = ["route_daily:distance", "route_daily:delays_1d", "route_daily:busiest_part"]
NAMES = [
    "origin_departures_1h",
    "origin_mean_delay_1h",
    "origin_share_late_1h",
    "destination_departures",
    "destination_delay",
    "flights_1d",
    "distance",
    "mean_delay_1d",
    "delays_1d",
    "busiest_part",
]


class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A model that is quick to log."""

    def predict(self, context: Any, model_input: list[float], params: Any = None) -> list[float]:  # noqa: ARG002
        """Returns what it was given."""
        return model_input


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """MLflow's folder: a database, and an experiment whose artifacts are files."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.create_experiment("flights", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("flights")
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture(autouse=True)
def no_run() -> Iterator[None]:
    """Ends what a test leaves running."""
    yield
    mlflow.end_run()


@pytest.fixture
def spine(flights: Project) -> pd.DataFrame:
    return pd.read_parquet(flights.folder / "data" / "flights.parquet").tail(200)


@pytest.fixture
def ts(store: provender.Store, spine: pd.DataFrame) -> provender.TrainingSet:
    return store.training_set(spine, service=SERVICE, time="departs")


def log_model(**options: Any) -> Any:
    """Logs a model without asking which packages it needs, which takes a minute."""
    return mlflow.pyfunc.log_model(python_model=Model(), pip_requirements=[], **options)


def test_models_find_their_features(ts: provender.TrainingSet, store: provender.Store) -> None:
    with mlflow.start_run() as run:
        logged = log_training_set(ts)
        info = log_model(name="delay", registered_model_name="delay")
    assert (logged.service, logged.features, logged.revision) == (SERVICE, NAMES, 1)
    assert logged.keys == {"origin": "string", "destination": "string"}
    assert [o.type for o in logged.outputs[5:]] == ["int64", "int32", "float64", "list<int32>", "string"]
    assert (logged.outputs[3].feature, logged.outputs[3].default) == ("airport_hourly:departures_1h", 0)
    assert (logged.outputs[3].ttl, logged.outputs[3].keys) == ("6h", {"airport": "destination"})
    client, run_id = mlflow.MlflowClient(), run.info.run_id
    client.set_registered_model_alias("delay", "champion", "1")
    for model in (
        info,
        info.model_uri,
        info.model_id,
        "models:/delay/1",
        "models:/delay/latest",
        "models:/delay@champion",
        f"runs:/{run_id}/delay",
        run_id,
        run,
        mlflow.get_run(run_id),
        client.get_logged_model(info.model_id),
        client.get_model_version("delay", "1"),
        mlflow.pyfunc.load_model(info.model_uri),
        mlflow.artifacts.download_artifacts(info.model_uri),
    ):
        found = features_for(model)
        assert found == logged, model
    assert found.manifest == ts.manifest
    assert found.differences(store) == []
    found.check(store)
    answer = store.get_features(service=found.service, entities={"origin": ["JFK"], "destination": ["SFO"]})
    assert (
        answer.names
        == found.features
        == store.get_features(**found.request, entities=ts.data.head(1)[[*found.keys]]).names
    )


def test_run_shows_what_it_was_trained_on(ts: provender.TrainingSet) -> None:
    with mlflow.start_run() as run:
        log_training_set(ts)
        log_training_set(ts)  # a cell that is run again
    kept = mlflow.get_run(run.info.run_id)
    (logged,) = kept.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.source_type) == (SERVICE, "provender")
    assert {t.key: t.value for t in logged.tags} == {"mlflow.data.context": "training"}
    source = mlflow.data.get_source(logged)
    assert source.to_dict()["definitions"] == ts.manifest["definitions"]
    with pytest.raises(NotImplementedError, match="make it again"):
        source.load()
    schema = Schema.from_json(json.dumps(json.loads(logged.dataset.schema)["mlflow_colspec"]))
    assert schema.input_names() == [*ts.columns, *NAMES]
    assert str(schema.input_dict()["delays_1d"].type) == "Array(integer)"
    for search in (
        f"tags.`provender.training.service` = '{SERVICE}'",
        "tags.`provender.training.features` LIKE '%airport_hourly:mean_delay_1h%'",
        "tags.`provender.training.revision` = '1'",
        f"dataset.name = '{SERVICE}' AND dataset.digest = '{logged.dataset.digest}'",
    ):
        assert run.info.run_id in set(mlflow.search_runs(filter_string=search)["run_id"]), search


def test_digest_tells_sets_apart(store: provender.Store, spine: pd.DataFrame) -> None:
    def digest(spine: pd.DataFrame, service: str | None = SERVICE, features: list[str] | None = None) -> str:
        with mlflow.start_run():
            return log_training_set(
                store.training_set(spine, service=service, features=features, time="departs")
            ).digest

    first = digest(spine)
    assert digest(spine) == first
    others = [digest(spine.head(100)), digest(spine, None, AD_HOC), digest(spine.rename(columns={"delay": "late"}))]
    assert len({first, *others}) == 4


def test_two_sets_in_a_run(ts: provender.TrainingSet, store: provender.Store, spine: pd.DataFrame) -> None:
    with mlflow.start_run() as run:
        training, validation = log_training_set(ts), log_training_set(ts, name="validation")
        assert features_for(run) == training
        assert features_for(run, name="validation") == validation
        assert (training.digest, training.name) == (validation.digest, "training")
        other = log_training_set(store.training_set(spine, features=AD_HOC, time="departs"), name="validation")
    with pytest.raises(provender.InvalidError, match="different features: training, validation") as caught:
        features_for(run)
    assert caught.value.field == "name"
    assert "name='training'" in caught.value.fix
    assert features_for(run, name="training") == training
    assert features_for(run, name="validation") == other
    assert other.manifest["features"][0]["feature"] == AD_HOC[0]
    with pytest.raises(provender.NotFoundError, match="'test'; it has training, validation"):
        features_for(run, name="test")


def test_list_of_features(store: provender.Store, spine: pd.DataFrame) -> None:
    with mlflow.start_run() as run:
        log_training_set(store.training_set(spine, features=AD_HOC, time="departs"))
    assert "provender.training.service" not in mlflow.get_run(run.info.run_id).data.tags
    found = features_for(run)
    assert (found.service, found.features) == (None, ["distance", "delays_1d", "busiest_part"])
    assert found.request == {"features": AD_HOC}
    assert found.differences(store) == []
    entities = {"origin": ["JFK"], "destination": ["SFO"]}
    assert store.get_features(**found.request, entities=entities).names == found.features


def test_models_without(ts: provender.TrainingSet) -> None:
    with mlflow.start_run():
        info = log_model(name="other")
    with pytest.raises(
        provender.NotFoundError, match=r"no training set of Provender \(call provender.mlflow.log_training_set"
    ):
        features_for(info)
    with pytest.raises(provender.NotFoundError, match="belongs to no run"):
        features_for(log_model(name="outside"))
    for model in ("models:/nobody/1", "models:/m-0123456789abcdef0123456789abcdef", "0" * 32, "models:/delay@nobody"):
        with pytest.raises(provender.NotFoundError, match="MLflow does not find"):
            features_for(model)
    with pytest.raises(provender.InvalidError, match="can't be a int"):
        features_for(7)
    with pytest.raises(provender.InvalidError, match="can't name a training set"):
        log_training_set(ts, name="my training.set")


def test_artifacts_out_of_reach(ts: provender.TrainingSet, store: provender.Store, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    experiment = mlflow.create_experiment("out of reach", artifact_location=(blocked / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment) as run, pytest.warns(UserWarning, match="was not logged"):
        logged = log_training_set(ts)
    found = features_for(run.info.run_id)
    assert found == logged
    assert found.differences(store) == []
    with pytest.raises(provender.NotFoundError, match="can't be read"):
        _ = found.manifest


def test_many_features_fit(tmp_path: Path, project: Project) -> None:
    names = [f"a_feature_with_quite_a_long_name_{i}" for i in range(1000)]
    pd.DataFrame(
        {"airport": ["JFK"], "at": pd.to_datetime(["2001-06-01"], utc=True)} | dict.fromkeys(names, 1.0)
    ).to_parquet(tmp_path / "wide.parquet")
    (project.folder / "data" / "wide").mkdir()
    (tmp_path / "wide.parquet").rename(project.folder / "data" / "wide" / "wide.parquet")
    features = "".join(f"\n  - {{name: {name}, type: float64}}" for name in names)
    (project.folder / "definitions" / "wide.yaml").write_text(
        "kind: FeatureView\nname: wide\nentities: [airport]\n"
        f"source: {{parquet: 'lake:wide/**', event_time: at}}\nfeatures:{features}\n"
        "---\nkind: FeatureService\nname: wide\nfeatures: [{view: wide}]\n"
    )
    project.run("apply", "--yes")
    server = project.serve()
    try:
        with provender.connect(server.address) as store, mlflow.start_run() as run:
            spine = pd.DataFrame({"airport": ["JFK"], "at": pd.to_datetime(["2001-06-02"], utc=True)})
            log_training_set(store.training_set(spine, service="wide", time="at"))
            assert features_for(run).features == names
    finally:
        server.stop()
    tag = mlflow.get_run(run.info.run_id).data.tags["provender.training.features"]
    assert len(tag) <= 8000
    assert tag.startswith("wide:a_feature_with_quite_a_long_name_0, ")
    assert tag.endswith(", …")


# What is changed in the flights example, and what is told of it.
CHANGES: dict[str, tuple[str, list[tuple[str, str]], list[str]]] = {
    "default": (
        "airports.yaml",
        [("type: int64, description: Departures in the past hour, default: 0", "type: int64, default: 1")],
        [
            "origin_departures_1h: default 1, was 0",
            "destination_departures: default 1, was 0",
        ],
    ),
    "ttl": (
        "routes.yaml",
        [("ttl: 3d", "ttl: 1d12h"), ("{name: distance, type: int32", "{name: distance, type: int64")],
        [
            "flights_1d: ttl 1d12h, was 3d",
            "distance: type int64, was int32",
            "distance: ttl 1d12h, was 3d",
            "mean_delay_1d: ttl 1d12h, was 3d",
            "delays_1d: ttl 1d12h, was 3d",
            "busiest_part: ttl 1d12h, was 3d",
        ],
    ),
    "features": (
        "delay_model.yaml",
        [
            (
                "[flights_1d, distance, mean_delay_1d, delays_1d, busiest_part]",
                "[distance, flights_1d, mean_delay_1d, busiest_part]",
            ),
            ("as: destination_delay", "as: delay_there"),
        ],
        [
            "destination_delay: it is gone (was airport_hourly:mean_delay_1h)",
            "delays_1d: it is gone (was route_daily:delays_1d)",
            "delay_there: it is new",
            "order: origin_departures_1h, origin_mean_delay_1h, origin_share_late_1h, destination_departures, "
            "distance, flights_1d, mean_delay_1d, busiest_part; was origin_departures_1h, origin_mean_delay_1h, "
            "origin_share_late_1h, destination_departures, flights_1d, distance, mean_delay_1d, busiest_part",
        ],
    ),
    "another column": (
        "delay_model.yaml",
        [("join: {airport: origin}", "join: {airport: departs_from}")],
        [
            "request key departs_from: it is new",
            "origin_departures_1h: keys airport from departs_from, was airport from origin",
            "origin_mean_delay_1h: keys airport from departs_from, was airport from origin",
            "origin_share_late_1h: keys airport from departs_from, was airport from origin",
        ],
    ),
    "another feature": (
        "delay_model.yaml",
        [("name: mean_delay_1h, as", "name: share_late_1h, as")],
        ["destination_delay: feature airport_hourly:share_late_1h, was airport_hourly:mean_delay_1h"],
    ),
    "another name": (
        "delay_model.yaml",
        [("name: delay_model_v1", "name: delay_model_v2")],
        ['no feature service "delay_model_v1" in revision 1 (did you mean "delay_model_v2"?)'],
    ),
}


@pytest.fixture(scope="module")
def trained(server: Server) -> ModelFeatures:
    """What a model of the flights example was trained on."""
    spine = pd.DataFrame(
        {"origin": ["JFK"], "destination": ["SFO"], "departs": pd.to_datetime(["2001-06-01"], utc=True)}
    )
    with provender.connect(server.address) as store, mlflow.start_run() as run:
        log_training_set(store.training_set(spine, service=SERVICE, time="departs"))
        log_training_set(store.training_set(spine, features=AD_HOC, time="departs"), name="listed")
    return features_for(run, name="training")


@pytest.mark.parametrize("change", CHANGES)
def test_definitions_that_differ(trained: ModelFeatures, project: Project, change: str) -> None:
    file, replaced, told = CHANGES[change]
    path = project.folder / "definitions" / file
    text = path.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    project.run("apply", "--yes")
    server = project.serve()
    try:
        with provender.connect(server.address) as store:
            assert trained.differences(store) == told
            with pytest.raises(provender.PreconditionError) as caught:
                trained.check(store)
    finally:
        server.stop()
    for line in told:
        assert f"\n  {line}" in caught.value.message
    assert "delay_model_v1" in caught.value.message


def test_listed_features_that_are_gone(trained: ModelFeatures, project: Project) -> None:
    listed = features_for(trained.run_id, name="listed")
    (project.folder / "definitions" / "routes.yaml").unlink()
    service = project.folder / "definitions" / "delay_model.yaml"
    service.write_text(service.read_text().partition("  - view: route_daily")[0])
    project.run("apply", "--yes")
    server = project.serve()
    try:
        with provender.connect(server.address) as store:
            assert listed.differences(store) == [
                "request key origin: it is gone",
                "request key destination: it is gone",
                "distance: it is gone (was route_daily:distance)",
                "delays_1d: it is gone (was route_daily:delays_1d)",
                "busiest_part: it is gone (was route_daily:busiest_part)",
            ]
    finally:
        server.stop()


def test_shown(trained: ModelFeatures) -> None:
    lines = repr(trained).splitlines()
    assert lines[0] == "Trained on service delay_model_v1, revision 1; keys: origin (string), destination (string)"
    assert lines[5].split() == ["destination_departures", "int64", "airport_hourly:departures_1h", "0", "6h"]
    assert "<table" in trained._repr_html_()


def test_without_mlflow() -> None:
    program = "import sys; sys.modules['mlflow'] = None; import provender.mlflow"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ImportError: provender.mlflow needs MLflow 3: pip install mlflow" in done.stderr
