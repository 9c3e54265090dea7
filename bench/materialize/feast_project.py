"""Makes a Feast project of a workload's view, and applies it.

usage: feast_project.py FOLDER FILES HOST:PORT     prints Feast's version
"""

import datetime
import pathlib
import sys

import feast
from feast.types import Float64

folder, files, redis = sys.argv[1:]
pathlib.Path(folder, "feature_store.yaml").write_text(f"""project: bench
provider: local
registry: registry.db
offline_store: {{type: file}}
online_store: {{type: redis, connection_string: "{redis}"}}
entity_key_serialization_version: 3
""")
user = feast.Entity(name="user", join_keys=["entity_id"], value_type=feast.ValueType.INT64)
view = feast.FeatureView(
    name="view0",
    entities=[user],
    ttl=datetime.timedelta(days=365),
    schema=[feast.Field(name=f"v0_f{i}", dtype=Float64) for i in range(10)],
    source=feast.FileSource(
        path=files, timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
    ),
)
feast.FeatureStore(repo_path=folder).apply([user, view])
print("Feast", feast.__version__)
