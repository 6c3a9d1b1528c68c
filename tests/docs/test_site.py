"""The site: it builds, what is broken stops the build, it loads nothing from elsewhere, and its reference has all there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort

from mindo.columns import DECLARED
from mindo.configuration import MindoConfiguration
from mindo.settings import ASSUMPTIONS
from mindo_pipeline.dagster.settings import Settings as DagsterSettings
from mindo_pipeline.defaults import DEFAULTS, DUCKDB_DEFAULTS
from mindo_pipeline.exit_codes import ExitCode
from mindo_pipeline.observing.notifying import NotifyConfiguration
from tests.docs.page import ROOT, codes, docs_markdown, docs_reference, read, table

_EXTERNAL = re.compile(r"^(?:https?:)?//")
_LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "use": "href"}
_ADDRESS_IN_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)")
_HOME = "http://site/"


@dataclass
class Html:
    """What a built page holds.

    Attributes:
        loaded: What a browser fetches with it.
        linked: Targets of its links.
        anchors: Ids in it.
        code: Texts in `code`.
        text: All of its text.
        classes: Classes of `pre`.
    """

    loaded: list[str]
    linked: list[str]
    anchors: set[str]
    code: set[str]
    text: str
    classes: set[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Html([], [], set(), set(), "", set())
        self._texts: list[str] = []
        self._open: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _LOADING and _LOADING[tag] in given:
            self.page.loaded.append(given[_LOADING[tag]])
        if tag == "a" and "href" in given:
            self.page.linked.append(given["href"])
        if "id" in given:
            self.page.anchors.add(given["id"])
        if tag == "pre":
            self.page.classes |= set(given.get("class", "").split())
        if "style" in given:
            self.page.loaded += _ADDRESS_IN_CSS.findall(given["style"])
        if tag == "code":
            self._open.append([])

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        for code in self._open:
            code.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self.page.code.add("".join(self._open.pop()))

    def close(self) -> None:
        super().close()
        self.page.text = " ".join("".join(self._texts).split())


def parse(path: Path) -> Html:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page


def configuration(folder: Path, **others: object) -> MkDocsConfig:
    return load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder / "site"), strict=True, **others)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it: broken links and anchors are errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        settings = configuration(tmp_path_factory.mktemp("docs"))
        build(settings)
    return Path(settings.site_dir)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Html]:
    """Every page by its path."""
    return {str(path.relative_to(site)): parse(path) for path in site.rglob("*.html")}


# --- what is broken stops the build --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[a page](nowhere.md)",
        "[an anchor](#nowhere)",
        "[a section of the README](../README.md#nowhere)",
        "[a file of the repository](../sources/nowhere.py)",
        "[a place of the server](/nowhere/)",
    ],
)
def test_what_leads_nowhere_stops_the_build(tmp_path: Path, text: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Page\n\n[the same page](#page)\n")
    settings = {"docs_dir": str(tmp_path / "docs"), "nav": [{"Page": "index.md"}], "extra_css": []}
    build(configuration(tmp_path, **settings))
    (tmp_path / "docs/index.md").write_text(f"# Page\n\n{text}\n")
    with pytest.raises(Abort):
        build(configuration(tmp_path, **settings))


@pytest.mark.parametrize("directive", ["include README.md#nowhere", "generate nothing"])
def test_a_part_that_is_not_there_stops_the_build(tmp_path: Path, directive: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Page\n\n<!-- {directive} -->\n")
    with pytest.raises(LookupError):
        build(configuration(tmp_path, docs_dir=str(tmp_path / "docs"), nav=[{"Page": "index.md"}], extra_css=[]))


# --- the built site ------------------------------------------------------------------------------------------------


def test_the_site_loads_nothing_from_another_host(site: Path, pages: dict[str, Html]) -> None:
    assert len(pages) > 40
    for name, page in pages.items():
        assert page.loaded, name
        assert [address for address in page.loaded if _EXTERNAL.match(address)] == [], name
        # the theme fetches a program for these from another host
        assert "mermaid" not in page.classes, name
    for sheet in site.rglob("*.css"):
        assert [a for a in _ADDRESS_IN_CSS.findall(sheet.read_text(encoding="utf-8")) if _EXTERNAL.match(a)] == []


def test_every_link_within_the_site_leads_to_a_page_and_its_anchor(pages: dict[str, Html]) -> None:
    for name, page in pages.items():
        for link in page.linked:
            address, anchor = urldefrag(urljoin(_HOME + name, link))
            if not address.startswith(_HOME) or name == "404.html":
                continue
            target = address.removeprefix(_HOME)
            target = f"{target}index.html" if target.endswith("/") or not target else target
            assert target in pages, f"{name}: {link}"
            assert not anchor or anchor in pages[target].anchors, f"{name}: {link}"


def test_nothing_of_a_directive_or_of_the_repositorys_links_is_left(pages: dict[str, Html], site: Path) -> None:
    for name, page in pages.items():
        assert "<!-- include" not in (site / name).read_text(encoding="utf-8")
        assert "<!-- generate" not in (site / name).read_text(encoding="utf-8")
        assert not [link for link in page.linked if re.search(r"\.md(#|$)", link)], name


def test_every_section_of_the_readme_is_on_the_site_or_has_a_page_that_stands_for_it() -> None:
    text = read()
    included = {
        slug
        for path in (ROOT / "docs").rglob("*.md")
        for slug in re.findall(r"<!-- include README\.md#(\S+?)(?: with \S+)? -->", path.read_text(encoding="utf-8"))
    }
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_WithoutPython)
    stood_for = set(settings["extra"]["readme_sections"])
    sections = {heading.slug for heading in docs_markdown.headings(text) if heading.level <= 2}
    assert sections - included - stood_for == {"development", "licence"}
    assert included <= {heading.slug for heading in docs_markdown.headings(text)}


class _WithoutPython(yaml.SafeLoader):
    """Takes what only mkdocs can read for nothing."""


_WithoutPython.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


# --- the reference has all there is --------------------------------------------------------------------------------


def test_every_command_and_option_is_in_the_reference(pages: dict[str, Html]) -> None:
    page = pages["reference/commands/index.html"]
    for name, command in docs_reference.all_commands().items():
        assert f"mindo-{name.replace(' ', '-')}" in page.anchors
        assert " ".join((command.help or "").split("\n\n")[0].replace("\\[", "[").replace("`", "").split()) in page.text
        for option in command.params:
            if option.name != "help":
                assert any(option.opts[0] in code.split() or code.startswith(option.opts[0]) for code in page.code), (
                    f"{name} {option.opts}"
                )
                assert option.help, f"{name} {option.opts}"
                assert " ".join(option.help.replace("\\[", "[").replace("`", "").split()) in page.text


def settings() -> Iterator[tuple[str, str]]:
    for section, spec in (("sources.mindo", MindoConfiguration), ("notify", NotifyConfiguration)):
        yield from ((section, field.name) for field in fields(spec) if field.name in spec.__annotations__)
    yield from (("dagster", field.name) for field in fields(DagsterSettings))


def test_every_setting_is_in_the_reference(pages: dict[str, Html]) -> None:
    page = pages["reference/configuration/index.html"]
    for section, name in settings():
        assert name in page.code
        assert f"{section.replace('.', '__')}__{name}".upper() in page.code
    for document in (DEFAULTS, DUCKDB_DEFAULTS):
        assert {key for key, _ in docs_reference._flat(document)} <= page.code
    for name in ("config.toml", "example.secrets.toml"):
        template = (ROOT / "pipelines/mindo_pipeline/templates" / name).read_text(encoding="utf-8")
        assert " ".join(template.split()) in page.text


def test_every_table_and_column_is_in_the_reference(pages: dict[str, Html]) -> None:
    page = pages["reference/tables/index.html"]
    for name, columns in DECLARED.items():
        assert name in page.anchors
        for column in columns:
            assert column.name in page.code
            assert " ".join(column.description.replace("`", "").split()) in page.text


def test_every_model_and_column_of_dbt_is_in_the_reference(pages: dict[str, Html]) -> None:
    page = pages["reference/dbt-models/index.html"]
    models = {path.stem for path in (ROOT / "dbt/models").rglob("*.sql")}
    assert models <= page.anchors
    for path in (ROOT / "dbt/models").glob("*/_*.yml"):
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]:
            assert {column["name"] for column in model["columns"]} <= page.code


def test_every_exit_code_and_assumption_is_in_the_reference(pages: dict[str, Html]) -> None:
    for code in ExitCode:
        assert code.name in pages["reference/exit-codes/index.html"].code
        assert (
            docs_reference._exit_code_meanings()[code.name].replace("`", "")
            in pages["reference/exit-codes/index.html"].text
        )
    for point, assumption in ASSUMPTIONS.items():
        assert f"{point} {assumption}" in re.sub(r"\s+", " ", pages["reference/limits/index.html"].text)


def test_every_line_of_an_error_is_explained_and_nothing_else(pages: dict[str, Html]) -> None:
    page = pages["troubleshooting/index.html"]
    fragments = [codes(row[0])[0] for row in table("When something goes wrong")]
    assert fragments == [fragment for fragment, _, _ in docs_reference.error_lines()]
    for fragment in fragments:
        assert fragment in page.code
        assert docs_reference.whole_lines(fragment), fragment
    assert set(docs_reference.explanations()) <= set(fragments)
