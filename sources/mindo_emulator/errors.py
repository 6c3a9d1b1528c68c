"""Refusals of the API: a status and a message that the client may read."""

from __future__ import annotations

MISSING_KEY = "Este endpoint requiere autenticacion con API Key (header X-API-Key)"
EXPIRED_KEY = "API Key expirada"
FOREIGN_KEY = "API Key no tiene acceso a este recurso"
EXPIRED_CURSOR = "El cursor expiro"
BAD_CURSOR = "El cursor no es valido"


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: The text of the body's `detail`.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
