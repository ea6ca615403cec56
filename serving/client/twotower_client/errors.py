"""What can go wrong before a request is sent, or after its answer has come."""

from __future__ import annotations


class ClientError(Exception):
    """What was wrong and what was expected, in words."""


class InputError(ClientError, ValueError):
    """A model does not take what it is given."""


class MixedVersionsError(ClientError):
    """Two answers come from models of different versions, so their numbers do not fit together."""
