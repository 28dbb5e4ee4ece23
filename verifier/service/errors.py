"""What the service refuses, each with the HTTP status that says so."""

from __future__ import annotations

from typing import ClassVar

from encoders.errors import PlumblineError


class ServiceError(PlumblineError):
    """The root of what the service refuses by itself; what Plumbline refuses is a bad request (422)."""

    status: ClassVar[int] = 400


class NotThereError(ServiceError, LookupError):
    """There is no such thing, or it belongs to somebody else: nobody learns which."""

    status = 404


class ConflictError(ServiceError):
    """The thing is in a state that does not allow it, or is in use."""

    status = 409


class TooLargeError(ServiceError):
    """More bytes, inputs, neurons or samples than the limits allow."""

    status = 413


class TooManyError(ServiceError):
    """More open runs or requests than the limits allow."""

    status = 429


class NoTokenError(ServiceError):
    """A token is needed, and none that is known was sent."""

    status = 401


class ForbiddenError(ServiceError):
    """The request comes from where none is taken from."""

    status = 403


class SlowError(ServiceError):
    """The rest of a request did not come in time."""

    status = 408


class UnavailableError(ServiceError):
    """The disk or the database takes nothing more for now."""

    status = 503
