"""Provender, the feature store: features for training and serving."""

from . import aio
from ._errors import (
    CanceledError,
    ConflictError,
    DeadlineError,
    DeniedError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    ProvenderError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from ._features import Features, ViewRead
from ._training import TrainingSet, TrainingSetWarning
from ._version import __version__
from .store import Store, connect

__all__ = [
    "CanceledError",
    "ConflictError",
    "DeadlineError",
    "DeniedError",
    "ExhaustedError",
    "Features",
    "InternalError",
    "InvalidError",
    "NotFoundError",
    "PreconditionError",
    "ProvenderError",
    "Store",
    "TrainingSet",
    "TrainingSetWarning",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "ViewRead",
    "__version__",
    "aio",
    "connect",
]
