"""Pages of the documentation site whose text is elsewhere in the repository.

MkDocs calls the functions of this module: see ``hooks`` in mkdocs.yml. Links between pages are
those of the repository, so that they work there too; on the site each leads to the site's own page.
"""

import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

from filtertrack import to_html
from filtertrack.outputs.recorded_run import copy_recorded_run

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "filtertrack/web/http_api.md": "http-api.md",
    "runs/README.md": "runs.md",
}
"""Files outside of ``docs`` that are pages of the site, and the names of the pages."""

NOTEBOOKS = {
    f"notebooks/{file.name}": f"notebooks/{file.stem}.md"
    for file in (ROOT / "notebooks").glob("*.ipynb")
}
"""The same of notebooks."""

_REMOTE_SCRIPT = "https://unpkg.com/iframe-worker/shim"
"""A script that the theme loads; the site has a copy, so that it needs no network."""

DEMO = "demo.html"
"""The interactive page of the demo, which a page of the site embeds."""

_LINK = re.compile(r'(\]\(|src=")([^)\s":#]+)')


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are outside of ``docs``, and the notebooks, as files."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_with_site_links(text, source)))
    files.append(File.generated(config, DEMO, content=_demo_page()))
    for source, page in NOTEBOOKS.items():
        for file in _notebook_files(source, page, config):
            files.append(file)  # Files has no extend
    return files


def _notebook_files(source: str, page: str, config: Any) -> Iterator[File]:
    """Yield a notebook as a page, its pictures, and itself, to be downloaded."""
    exporter = MarkdownExporter()  # type: ignore[no-untyped-call]
    text, resources = exporter.from_filename(str(ROOT / source))
    folder = posixpath.splitext(page)[0]
    name = posixpath.basename(folder)
    text = text.replace("](output_", f"]({name}/output_")
    title, _, rest = text.partition("\n")
    link = f"[The notebook as a file]({posixpath.basename(source)}), with the outputs below."
    yield File.generated(config, page, content=f"{title}\n\n{link}\n{rest}")
    for picture, content in resources["outputs"].items():
        yield File.generated(config, f"{folder}/{picture}", content=content)
    yield File.generated(config, source, abs_src_path=str(ROOT / source))


def _demo_page() -> str:
    """Return the interactive page of the run that is part of the package."""
    with tempfile.TemporaryDirectory() as folder:
        run = copy_recorded_run(Path(folder) / "demo")
        return Path(str(to_html(run).path)).read_text(encoding="utf-8")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text with links to the site's pages."""
    source = page.file.src_uri
    has_links_of_site = source in {*PAGES.values(), *NOTEBOOKS.values()}
    return markdown if has_links_of_site else _with_site_links(markdown, f"docs/{source}")


def on_post_page(output: str, page: Any = None, **_: Any) -> str:
    """Return a page's HTML without references to other servers."""
    folder = posixpath.dirname(page.url) if page else ""
    return output.replace(
        _REMOTE_SCRIPT, posixpath.relpath("assets/iframe-worker.js", folder or ".")
    )


def on_post_template(output_content: str, **_: Any) -> str:
    """Return the page for missing addresses without references to other servers."""
    return on_post_page(output_content)


def _with_site_links(text: str, source: str) -> str:
    """Return a page's text with links to the site's pages.

    Args:
        text: Markdown.
        source: The path of its file in the repository.
    """
    folder = posixpath.dirname(source)

    def replace(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        target = {**PAGES, **NOTEBOOKS}.get(target, target.removeprefix("docs/"))
        return match[1] + target

    return _LINK.sub(replace, text)
