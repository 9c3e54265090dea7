"""Provender, the feature store: features for training and serving."""

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
from .store import Store, connect

__version__ = "0.1.0"

__all__ = [
    "CanceledError",
    "ConflictError",
    "DeadlineError",
    "DeniedError",
    "ExhaustedError",
    "InternalError",
    "InvalidError",
    "NotFoundError",
    "PreconditionError",
    "ProvenderError",
    "Store",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "__version__",
    "connect",
]
