"""Checks of the built documentation site: ``python tests/docs/check_site.py build/docs``.

Links between its pages lead to what exists, anchors included, and no page loads anything from elsewhere, so that the
site can be read from a folder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# attributes by which a page loads something, and those of them that only lead somewhere
LOADING = {"src", "srcset", "href", "data", "poster", "action"}
LEADING = {("a", "href"), ("form", "action")}
# kinds of <link> that load nothing
TELLING = {"canonical", "next", "prev", "index", "search", "genindex", "author", "help", "up", "top"}


@dataclass
class Page(HTMLParser):
    """The ids of a page, where its links lead, and what it loads."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's id, its links and what it loads."""
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        for name in LOADING & given.keys():
            leads = (tag, name) in LEADING or (tag == "link" and set(given.get("rel", "").split()) & TELLING)
            (self.links if leads else self.loads).append(given[name])


def faults(site: Path) -> Iterator[str]:
    """Yield a line for every link of a site that leads nowhere, and for everything it loads from elsewhere."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no pages: build them first, make docs"
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        yield from (f"{name} loads {address}" for address in page.loads if _is_remote(address))
        for address in [*page.links, *page.loads]:
            problem = None if _is_remote(address) else _problem(pages, path, address)
            if problem:
                yield f"{name}: {problem}"
    for style in sorted(site.rglob("*.css")):
        for address in re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^"')\s]*""", style.read_text("utf-8")):
            yield f"{style.relative_to(site)} loads {address}"


def _is_remote(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def _problem(pages: dict[Path, Page], path: Path, address: str) -> str | None:
    """Return what is wrong with a link of a page to another place of the site; None if nothing is."""
    parts = urlsplit(address)
    if parts.scheme:  # mailto:, data:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{address} does not exist"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return f"{address} has no such anchor"
    return None


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1])))
    print("\n".join(found) or f"{len(list(Path(sys.argv[1]).rglob('*.html')))} pages, no dead link, nothing remote")
    sys.exit(bool(found))
