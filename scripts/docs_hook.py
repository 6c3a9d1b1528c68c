"""What mkdocs calls while it builds the site: parts made from the code, sections of the README, links into the repository.

A page says `<!-- include README.md#the-promise -->` or `<!-- generate commands -->`; `with exit-codes` behind an address puts that
part in the place of the first table. Links lead to files of the repository, as on GitHub. A link to a section of the README leads to the page that
includes it or, if there is none, to the page that `extra.readme_sections` names; one to a file outside of docs/ to a page made
of that file. What leads nowhere stays, and the strict build refuses it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from docs_markdown import headings, links, section, shifted, with_first_table, with_links
from docs_reference import PARTS
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
_DIRECTIVE: Final = re.compile(r"^<!-- (include|generate) (\S+?)(?:#(\S+))?(?: with (\S+))? -->$", re.MULTILINE)
_README: Final = "README.md"
_FILES: Final = "files"
_LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sql": "sql", ".sh": "sh"}
_IMAGES: Final = (".svg", ".png")
_MOST_BYTES: Final = 100_000
_NOT_SEARCHED: Final = "---\nsearch:\n  exclude: true\n---\n\n"


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


class Site:
    """Where everything of the repository is on the site that is being built."""

    def __init__(self, config: MkDocsConfig) -> None:
        self._config = config
        self._sections: dict[str, str] = dict(config.extra.get("readme_sections", {}))
        self._moved: dict[str, str] = dict(config.extra.get("pages_instead", {}))
        self._made: dict[str, str] = {}

    def collect(self, files: Files) -> None:
        """Learns the pages, and adds those that are made of files of the repository that somebody links to."""
        pages = {
            file.src_uri: Path(str(file.abs_src_path)).read_text(encoding="utf-8")
            for file in files.documentation_pages()
        }
        for uri, text in pages.items():
            for kind, path, slug, _ in _DIRECTIVE.findall(text):
                if kind == "include" and path == _README:
                    self._sections[slug] = uri
                    self._sections |= {h.slug: uri for h in headings(section(_read(path), slug)[1])}
        waiting = [(f"docs/{uri}", self._expanded(text)) for uri, text in pages.items()]
        while waiting:
            origin, text = waiting.pop()
            for link in links(text):
                path = _path(link, origin)
                if path is not None and self._is_outside(path) and path not in self._made:
                    made = self._make(path, files)
                    if made is not None:
                        waiting.append((path, made))

    def _is_outside(self, path: str) -> bool:
        inside = path == _README or path.startswith(("docs/", ".."))
        return not inside and (ROOT / path).exists()

    def _make(self, path: str, files: Files) -> str | None:
        """Adds a file of the repository to the site and tells the Markdown that it is made of, if it is a page."""
        place = ROOT / path
        if place.suffix in _IMAGES:
            self._made[path] = f"{_FILES}/{path}"
            files.append(File.generated(self._config, self._made[path], abs_src_path=str(place)))
            return None
        text = _as_page(place, path)
        self._made[path] = f"{_FILES}/{path if place.suffix == '.md' else f'{path}.md'}"
        files.append(File.generated(self._config, self._made[path], content=text))
        return text

    def _expanded(self, text: str) -> str:
        """Puts in what the directives of a page stand for; its links are still those of the repository."""

        def put_in(directive: re.Match[str]) -> str:
            kind, path, slug, table = directive.groups()
            if kind == "generate":
                return _from(_README, PARTS[path]())
            heading, found = section(_read(path), slug)
            depth = max((h.level for h in headings(text[: directive.start()])[-1:]), default=1)
            found = with_first_table(found, PARTS[table]()) if table else found
            return _from(path, shifted(found, depth - heading.level))

        return _DIRECTIVE.sub(put_in, text)

    def markdown(self, page: Page, text: str) -> str:
        """A page as mkdocs gets it: with all that it includes, and links within the site."""
        uri = page.file.src_uri
        origin = next((path for path, made in self._made.items() if made == uri), f"docs/{uri}")

        def within(link: str) -> str:
            path = _path(link, origin)
            if path is None or path == origin:
                return link
            target, anchor = self._target(path, link.partition("#")[2])
            if target is None:
                return link
            relative = posixpath.relpath(target, posixpath.dirname(uri) or ".")
            return f"{relative}#{anchor}" if anchor else relative

        return with_links(self._expanded(text), within)

    def _target(self, path: str, anchor: str) -> tuple[str | None, str]:
        if path == _README:
            target = self._sections.get(anchor) if anchor else "index.md"
            # a section that became a page has its heading as the title, or another title
            return target, anchor if target and self._has_anchor(target, anchor) else ""
        if path.startswith("docs/"):
            uri = path.removeprefix("docs/")
            return self._moved.get(uri, uri), anchor
        return self._made.get(path), anchor

    def _has_anchor(self, uri: str, anchor: str) -> bool:
        return any(h.slug == anchor for h in headings(self._expanded(_read(f"docs/{uri}"))))


def _from(origin: str, text: str) -> str:
    """Text of another file with its links told as from a page of docs/, however deep: `/` is the repository here."""

    def absolute(link: str) -> str:
        path = _path(link, origin)
        return link if path is None else f"/{path}{''.join(link.partition('#')[1:])}"

    return with_links(text, absolute)


def _path(link: str, origin: str) -> str | None:
    """The path in the repository that a link of a file leads to; None for an address."""
    if "://" in link or link.startswith("mailto:"):
        return None
    path = link.replace("\\", "").partition("#")[0]
    if not path:
        return origin
    return posixpath.normpath(path[1:] if path.startswith("/") else posixpath.join(posixpath.dirname(origin), path))


def _as_page(place: Path, path: str) -> str:
    if place.suffix == ".md":
        return place.read_text(encoding="utf-8")
    if not place.is_dir():
        return f"{_NOT_SEARCHED}# {path}\n\n{_as_block(place)}"
    entries = [entry for entry in sorted(place.iterdir()) if not entry.name.startswith(("_", "."))]
    folders = [f"- [{entry.name}/](/{path}/{entry.name})\n" for entry in entries if entry.is_dir()]
    files = [f"## {entry.name}\n\n{_as_block(entry)}" for entry in entries if entry.is_file()]
    return "\n".join([f"{_NOT_SEARCHED}# {path}/\n", *folders, *files])


def _as_block(file: Path) -> str:
    if file.stat().st_size > _MOST_BYTES:
        return f"Too long to be shown: {file.stat().st_size:,} bytes.\n"
    text = file.read_text(encoding="utf-8")
    return f"````{_LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n````\n"


class _Build:
    """The build under way: mkdocs hands events to functions of a module, which have nothing else in common."""

    site: Site


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    _Build.site = Site(config)
    _Build.site.collect(files)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    return _Build.site.markdown(page, markdown)
