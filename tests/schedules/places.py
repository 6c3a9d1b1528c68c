"""Where the shipped files are, how the pages of a webhook arrive, and folders as a scheduler finds them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mindo_emulator import World
from tests.mindo_pipeline.harness import COMPANIES

ROOT = Path(__file__).parents[2]
SCHEDULES = ROOT / "pipelines" / "schedules"
ENVIRONMENT = ROOT / ".venv"
NIGHTLY, RECONCILE = "17 5 * * 1-6", "17 5 * * 0"
"""When every scheduler runs, UTC: each night one of the two."""


def forget_oldest_message(world: World, companies: Sequence[int] = COMPANIES) -> None:
    """Deletes a message at the API that lies further back than the lookback of a night."""
    oldest = min(
        (message for company in companies for message in world.messages(company)),
        key=lambda message: str(message["occurred_at"]),
    )
    world.delete(oldest["message_id"])


@dataclass
class Webhook:
    """A webhook as Slack's, and what it was told.

    Attributes:
        url: Its address.
        texts: The messages, in order.
    """

    url: str = ""
    texts: list[str] = field(default_factory=list)


@contextmanager
def webhook_server() -> Iterator[Webhook]:
    """A webhook on the loopback that takes JSON objects with a `text`, and nothing else."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_message = self.headers["Content-Type"] == "application/json" and isinstance(body["text"], str)
            webhook.texts.append(body["text"])
            self.send_response(200 if is_message else 400)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret-of-the-webhook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield webhook
        server.shutdown()


def write_settings(folder: Path, environment: Mapping[str, str], webhook: Webhook | None = None) -> None:
    """Writes what the environment says of the source into `.dlt/config.toml` and `.dlt/secrets.toml`, as a user would.

    Args:
        folder: Where `.dlt` belongs.
        environment: From `harness.settings`.
        webhook: For the section `[notify]`.
    """
    lines: dict[str, list[str]] = {"config.toml": ["[sources.mindo]"], "secrets.toml": ["[sources.mindo]"]}
    for name, value in environment.items():
        key = name.removeprefix("SOURCES__MINDO__").lower()
        lines["secrets.toml" if key == "api_key" else "config.toml"].append(f"{key} = {json.dumps(value)}")
    if webhook:
        lines["secrets.toml"] += ["[notify]", f"webhook_url = {json.dumps(webhook.url)}"]
    (folder / ".dlt").mkdir(parents=True)
    for name, content in lines.items():
        (folder / ".dlt" / name).write_text("\n".join(content) + "\n")
