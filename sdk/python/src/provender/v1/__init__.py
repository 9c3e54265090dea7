"""The messages of the API ``provender.v1``, generated from ``proto/provender/v1``."""
