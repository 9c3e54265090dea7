from __future__ import annotations

import pickle

import pytest

import provender
from provender.v1 import registry_pb2


def test_error_of_the_server(store: provender.Store) -> None:
    with pytest.raises(provender.NotFoundError) as caught:
        store._channel.call(
            "/provender.v1.RegistryService/GetDefinition",
            registry_pb2.GetDefinitionRequest(kind=registry_pb2.DEFINITION_KIND_FEATURE_SERVICE, name="delay_modle_v1"),
            registry_pb2.GetDefinitionResponse,
        )
    error = caught.value
    assert error.code == "not_found"
    assert "delay_model_v1" in error.fix
    assert error.fix in str(error)
    assert isinstance(error, LookupError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.fix) == (type(error), str(error), error.fix)
