"""Anonymised ids in the shapes of the contract: deterministic per company, different between companies."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache


@lru_cache(maxsize=64)
def _signer(seed: int, company_id: int) -> hmac.HMAC:
    return hmac.new(f"emulator:{seed}:{company_id}".encode(), digestmod=hashlib.sha256)


def anonymous_id(prefix: str, seed: int, company_id: int, name: object) -> str:
    """Return `<prefix>_<24 hex characters>`, the same for the same seed, company and name."""
    signer = _signer(seed, company_id).copy()
    signer.update(f"{prefix}:{name}".encode())
    return f"{prefix}_{signer.hexdigest()[:24]}"
