"""`mindo dashboard`: the pages on this machine, until Ctrl-C. marimo runs them; nobody who looks can run code or write."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mindo import ConfigurationError
from mindo.spool import PrivateFolder

from ..console import clean, typed_as
from ..exit_codes import ExitCode
from ..session import CommandFailed, Session, Verdict
from ..warehouse import Warehouse
from .deployment import Deployment, serve
from .reader import Reader
from .variables import Variables

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PACKAGES: Final = ("altair", "marimo", "vl-convert-python")
_APP: Final = Path(__file__).with_name("app.py")
_SECONDS_WITHOUT_VISITOR: Final = 60
_SECONDS_TO_STOP: Final = 2
_TOKEN_BYTES: Final = 18
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:;"
    " object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_FOLDERS: Final = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_SETTINGS: Final[dict[str, Any]] = {
    "display": {"theme": "system", "custom_css": []},
    "runtime": {"show_tracebacks": False, "auto_instantiate": True, "dotenv": []},
}


@dataclass(frozen=True)
class DashboardOptions:
    """What to serve, and where; see `mindo dashboard --help`."""

    host: str
    port: int
    destination: str | None = None
    dataset: str | None = None
    opens_browser: bool = True


def require_packages() -> None:
    """Finds out whether what draws and serves is installed, without importing it.

    Raises:
        ConfigurationError: If a package is missing.
    """
    try:
        for package in PACKAGES:
            version(package)
    except PackageNotFoundError:
        raise ConfigurationError(
            "dashboard: needs packages that are not installed; pip install 'mindo-connector[dashboard]'."
        ) from None


def open_reader(destination: str | None, dataset: str | None) -> Reader:
    """The warehouse that is looked at.

    Raises:
        ConfigurationError: If nothing was loaded into it yet, or it is of a kind that can't be asked.
    """
    reader = Reader(lambda: Warehouse(destination, dataset))
    if reader.is_missing:
        raise ConfigurationError(
            f"{reader.place}: there is no warehouse yet; `{typed_as('mindo')} demo` makes one up without a key,"
            f" `{typed_as('mindo')} run` loads yours."
        )
    return reader


def dashboard_command(session: Session, options: DashboardOptions) -> Verdict:
    """Serves until Ctrl-C."""
    require_packages()
    reader = open_reader(options.destination, options.dataset)
    serve(Deployment(reader, Variables.resolve()))
    token = None if _is_loopback(options.host) else secrets.token_urlsafe(_TOKEN_BYTES)
    with _listening(options.host, options.port) as listener:
        url = _url(options.host, listener.getsockname()[1])
        link = url if token is None else f"{url}/?access_token={token}"
        _announce(session, link, token is not None, reader)
        if options.opens_browser:
            # it waits for the answer, and gets the environment as it was
            with suppress(Exception):
                webbrowser.open(link)
        with _own_folders():
            _serve(listener, options.host, token)
    return Verdict(ExitCode.COMPLETE, "dashboard stopped.")


def _serve(listener: socket.socket, host: str, token: str | None) -> None:
    import uvicorn

    from .charts import prepare, warm_up

    app = make_app(token)
    # two threads that import at the same time can wait for each other for good
    prepare()
    threading.Thread(target=warm_up, daemon=True).start()
    configuration = uvicorn.Config(
        guarded(app, host),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_SECONDS_TO_STOP,
    )
    try:
        # after its end uvicorn raises the signal that ended it once more
        with suppress(KeyboardInterrupt):
            uvicorn.Server(configuration).run(sockets=[listener])
    finally:
        end_visits(app)


def make_app(token: str | None) -> ASGIApp:
    """The pages as marimo serves them, in run mode: a visitor can set what there is to set, and run nothing else."""
    import marimo

    from .fragments import style_sheet

    app = (
        marimo.create_asgi_app(
            quiet=True, token=token, session_ttl=_SECONDS_WITHOUT_VISITOR, html_head=f"<style>{style_sheet()}</style>"
        )
        .with_app(path="", root=str(_APP))
        .build()
    )
    for state in _states(app):
        # whoever starts it may have settings of their own for notebooks
        state.config_manager = state.config_manager.with_overrides(_SETTINGS)
    return app


def end_visits(app: ASGIApp) -> None:
    """Ends what runs for visitors; the process could not end before."""
    for state in _states(app):
        state.session_manager.close_all_sessions()


def _states(app: Any) -> list[Any]:
    """What marimo keeps for each notebook that it serves."""
    from starlette.routing import Mount

    mounted: list[Any] = [route.app for route in app.routes if isinstance(route, Mount)]
    return [notebook.state for notebook in mounted]


def guarded(app: ASGIApp, host: str) -> ASGIApp:
    """Lets only pages of this very server ask it, and lets those ask nobody else.

    Without a token whatever a browser of this machine shows could ask it otherwise: marimo takes requests from any origin, and a name
    can be made to mean 127.0.0.1.
    """
    local = _is_loopback(host)

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        asked, origin = headers.get(b"host", ""), headers.get(b"origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != asked
        if is_foreign or (local and not _is_loopback(urlsplit(f"//{asked}").hostname or "")):
            await _refuse(scope, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    (name, value)
                    for name, value in message["headers"]
                    if not name.lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        await app(scope, receive, answer)

    return guard


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"This is asked from another page."})


@contextmanager
def _own_folders() -> Iterator[None]:
    """Keeps marimo from settings that somebody has for notebooks, and lets it leave nothing behind."""
    private = PrivateFolder()
    try:
        os.environ.update({name: str(private.path) for name in _FOLDERS})
        yield
    finally:
        private.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            yield listener
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such host"
        raise CommandFailed(
            ExitCode.CONFIGURATION,
            f"dashboard: can't listen on {clean(host)}:{port} ({reason}); choose another --port (0 takes a free one).",
        ) from None


def _announce(session: Session, link: str, has_token: bool, reader: Reader) -> None:
    session.show(
        f"The dashboard is on {link}. Ctrl-C stops it.",
        f"It shows {clean(reader.place)}, and writes nothing.",
    )
    if has_token:
        session.show(
            "Whoever has the token can read every message: pass it on like a password, and over TLS or a tunnel only."
        )
    session.out.file.flush()


def _url(host: str, port: int) -> str:
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        if ipaddress.ip_address(host).version == 6:
            host = f"[{host}]"
    return f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
