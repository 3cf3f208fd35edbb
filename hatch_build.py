"""What the package index shows, with links that work there: read when the package is built.

Every link follows from the address of the repository, which only pyproject.toml holds.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r'(\]\(|(?:src|href)=")(?!\w+:|#)([^)\s"]+)')
"""The target of a link or picture, in Markdown or HTML, that is a file of the repository."""

_PICTURES = {".gif", ".jpg", ".png", ".svg", ".webp"}


class PackagePage(MetadataHookInterface):
    """Sets the project's links, and its readme with absolute ones."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``urls`` and ``readme`` to the metadata.

        Args:
            metadata: The ``project`` table of pyproject.toml, with the version.
        """
        repository, tag = self.config["repository"], f"v{metadata['version']}"
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(readme, repository, tag),
        }
        metadata["urls"] = {
            "Documentation": f"{repository}/blob/{tag}/README.md#documentation",
            "Source": repository,
            "Issues": f"{repository}/issues",
            "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        }


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose links to files of the repository are absolute.

    Args:
        text: Markdown, in the root of the repository.
        repository: The address of the repository.
        tag: The tag that the links lead to, so that the page of a version stays as it is.
    """

    def replace(match: re.Match[str]) -> str:
        start, path = match.groups()
        kind = "raw" if Path(path).suffix in _PICTURES else "blob"
        return f"{start}{repository}/{kind}/{tag}/{path}"

    return _LINK.sub(replace, text)
