"""A typed client of the models that twotower pushed, for TF Serving and the local server alike.

Needs gRPC, protobuf and NumPy, not TensorFlow.
"""

from .answers import Ad, Clicks, Embeddings, TopAds, match
from .async_client import AsyncClient
from .client import Client
from .errors import ClientError, InputError, MixedVersionsError

__all__ = [
    "Ad",
    "AsyncClient",
    "Clicks",
    "Client",
    "ClientError",
    "Embeddings",
    "InputError",
    "MixedVersionsError",
    "TopAds",
    "match",
]
