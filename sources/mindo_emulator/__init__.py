"""A server that speaks the Mindo Qualitative Export API on loopback, over a made-up world, with faults on demand.

Example:
    world = World.generate(seed=1, end="2026-05-01T00:00:00Z", messages=2_000)
    with Emulator(world) as emulator:
        emulator.faults.add("server_error", status=503, times=2)
        requests.get(emulator.base_url + MESSAGES_PATH, headers={"X-API-Key": GLOBAL_DEMO_KEY}, params=...)
        world.edit_text(message_id, "otro texto")
        assert rows == world.truth(42, start, end)
"""

from .access import ReceivedRequest
from .app import BUSINESS_PATH, MESSAGES_PATH
from .bulk import BulkWorld
from .fault_kinds import KINDS
from .faults import Fault, FaultBook
from .model import GLOBAL_DEMO_KEY, Company, demo_key
from .server import Emulator, serve
from .settings import EmulatorSettings
from .world import World

__all__ = [
    "BUSINESS_PATH",
    "GLOBAL_DEMO_KEY",
    "KINDS",
    "MESSAGES_PATH",
    "BulkWorld",
    "Company",
    "Emulator",
    "EmulatorSettings",
    "Fault",
    "FaultBook",
    "ReceivedRequest",
    "World",
    "demo_key",
    "serve",
]
