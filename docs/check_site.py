"""Check a built site: ``python docs/check_site.py docs/_build/html`` exits with 1 and says what is wrong.

It looks only at files. Every link within the site leads to a file, and to a place in it; every picture is there;
nothing that a browser loads by itself comes from elsewhere, so that the site reads the same without a network; and
every example has drawn a figure.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, by tag and attribute. Links that a reader follows are not among it.
_FETCHED = {
    *(("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src")),
    *(("embed", "src"), ("object", "data"), ("link", "href"), ("img", "srcset"), ("source", "srcset")),
}
_REMOTE_STYLE = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")
# A link element that only names another page is not fetched.
_NAMING = {"canonical", "author", "next", "prev", "help", "license"}


class Page(HTMLParser):
    """What a page fetches, where it leads, and the places that can be led to."""

    def __init__(self, text: str):
        super().__init__()
        self.fetched, self.links, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places.update(filter(None, (found.get("id"), found.get("name") if tag == "a" else None)))
        for name, value in found.items():
            if (tag, name) in _FETCHED and not (tag == "link" and _NAMING & set(found.get("rel", "").split())):
                self.fetched += [part.split()[0] for part in value.split(",")] if name == "srcset" else [value]
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


def faults(site: Path, examples: Path) -> Iterator[str]:
    """What is wrong with the site, one line each."""
    site = site.resolve()
    if not (site / "index.html").is_file():
        yield f"{site}: there is no site; run make docs"
        return
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    for path, page in pages.items():
        for fault in _faults_of_page(path, page, pages):
            yield f"{path.relative_to(site)}: {fault}"
    for path in sorted(site.rglob("*.css")):
        for url in _REMOTE_STYLE.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: needs {url}"
    yield from _examples_without_figure(site, pages, examples)


def _faults_of_page(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """Things from elsewhere, things that are missing, links that lead nowhere."""
    for url in dict.fromkeys(page.fetched):
        if _is_remote(url):
            yield f"needs {url}"
        elif not url.startswith("data:") and not _target(path, url)[0].exists():
            yield f"{url} is missing"
    for url in dict.fromkeys(page.links):
        if _is_remote(url) or urlsplit(url).scheme:
            continue
        target, place = _target(path, url)
        if not target.exists():
            yield f"the link {url} leads to no file"
        elif place and target in pages and place not in pages[target].places:
            yield f"the link {url} leads to no place in its file"


def _examples_without_figure(site: Path, pages: dict[Path, Page], examples: Path) -> Iterator[str]:
    """Every ``plot_*.py`` has a page with one of its figures on it, and a file of it."""
    for script in sorted(examples.glob("plot_*.py")):
        page = site / "auto_examples" / f"{script.stem}.html"
        if page not in pages:
            yield f"{script.name}: has no page"
        elif not any(f"sphx_glr_{script.stem}_0" in url for url in pages[page].fetched):
            yield f"{script.name}: its page has no figure"


def _is_remote(url: str) -> bool:
    """Whether another host is asked."""
    return url.startswith("//") or urlsplit(url).scheme in ("http", "https")


@cache
def _target(path: Path, url: str) -> tuple[Path, str]:
    """The file and the place in it that a link on a page leads to."""
    parts = urlsplit(url)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def main() -> int:
    """Print the faults; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="folder of the built HTML")
    parser.add_argument("--examples", type=Path, default=Path(__file__).parents[1] / "examples", help="their scripts")
    arguments = parser.parse_args()
    found = list(faults(arguments.site, arguments.examples))
    print("\n".join(found) if found else f"{arguments.site}: complete, and needs no network")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
