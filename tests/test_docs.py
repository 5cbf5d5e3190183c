"""The documentation holds every public object once, every page is found, and the check of a built site finds faults."""

import importlib.util
import inspect
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

import mne_specmoe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def load(path: Path):
    """A module of the documentation, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api_pages = load(DOCS / "_extensions/api_pages.py")
check_site = load(DOCS / "check_site.py")
inventories = load(DOCS / "_extensions/inventories.py")


# The API reference


def test_every_public_name_has_one_entry_in_the_api_reference():
    listed = Counter(api_pages.documented_names(DOCS / "api"))
    assert [name for name, count in listed.items() if count > 1] == []
    offered = {f"mne_specmoe.{name}" for name in mne_specmoe.__all__}
    assert {name for name in listed if name.count(".") == 1} == offered


def test_entries_are_found_wherever_they_stand(tmp_path):
    listed = ".. autosummary::\n   :toctree: generated\n\n   ~mne_specmoe.A\n   mne_specmoe.b.A\n"
    (tmp_path / "page.rst").write_text(f"{listed}\nText\n\n   mne_specmoe.C\n")
    names = api_pages.documented_names(tmp_path)
    assert names == ["mne_specmoe.A", "mne_specmoe.b.A"]
    assert api_pages.short_names([*names, "mne_specmoe.b.D"]) == {"D": "mne_specmoe.b.D"}


def public_objects() -> list[str]:
    """Names of public objects, and of the methods and properties that they have from us."""
    names = []
    for name in sorted(mne_specmoe.__all__):
        found = getattr(mne_specmoe, name)
        names.append(f"mne_specmoe.{name}")
        for member, value in inspect.getmembers(found) if inspect.isclass(found) else ():
            function = value.fget if isinstance(value, property) else value
            if not member.startswith("_") and inspect.isroutine(function):
                if str(getattr(function, "__module__", "")).startswith("mne_specmoe"):
                    names.append(f"mne_specmoe.{name}.{member}")
    return names


# No docstring, or one without a summary; parameters that are not described, that there are not, or in another order;
# no description of a parameter or of what is returned; sections in another order.
CHECKS = {
    "GL07",
    "GL08",
    "SS01",
    "SS02",
    "SS03",
    "SS04",
    "SS06",
    "PR01",
    "PR02",
    "PR03",
    "PR07",
    "PR10",
    "RT01",
    "YD01",
}
# Made by a function, never by users: its fields stand under Attributes.
RESULTS = {"mne_specmoe.Diagnosis", "mne_specmoe.TokenizedEpochs"}


@pytest.mark.parametrize("name", public_objects())
def test_docstring_says_what_goes_in_and_what_comes_out(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    wanted = CHECKS - {"PR01"} if name in RESULTS else CHECKS
    assert [f"{code} {text}" for code, text in validate(name)["errors"] if code in wanted] == []


# Pages


def linked_pages() -> set[str]:
    """Pages that a toctree below the home page leads to, without suffix."""
    found, waiting = set(), ["index"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        for path in (DOCS / f"{page}.md", DOCS / f"{page}.rst"):
            waiting += toctree_entries(path) if path.exists() else []
    return found


def toctree_entries(path: Path) -> list[str]:
    """Entries of the toctrees on a page, as paths from the folder of the documentation."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^(?:```|:::)\{toctree\}\n(.*?)^(?:```|:::)", text, re.M | re.S)
    blocks += re.findall(r"^\.\. toctree::\n((?:[ \t]+.*\n|\n)*)", text, re.M)
    entries = []
    for line in (line.strip() for block in blocks for line in block.splitlines()):
        entry = re.sub(r".*<(.*)>$", r"\1", line).removesuffix(".md").removesuffix(".rst")
        if not entry or line.startswith(":"):
            continue
        base = DOCS if entry.startswith("/") else path.parent
        matches = [found for suffix in (".md", ".rst") for found in base.glob(f"{entry.lstrip('/')}{suffix}")]
        entries += [str(found.relative_to(DOCS).with_suffix("")) for found in matches]
        if not matches:
            entries.append(str((base / entry.lstrip("/")).resolve().relative_to(DOCS)))
    return entries


PAGES = [
    path.relative_to(DOCS)
    for suffix in ("*.md", "*.rst")
    for path in sorted(DOCS.rglob(suffix))
    if not {"_build", "_templates", "generated", "backreferences", "auto_examples"} & set(path.relative_to(DOCS).parts)
    and path.name != "README.md"
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page_is_reached_from_the_home_page(page):
    assert str(page.with_suffix("")) in linked_pages()


def test_gallery_is_reached_from_the_home_page():
    assert "auto_examples/index" in linked_pages()  # sphinx-gallery puts every plot_*.py there


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_is_one_that_the_gallery_runs(example):
    assert example.name.startswith("plot_")
    title, underline = example.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[:2]
    assert set(underline) == {"="}
    assert len(underline) >= len(title)


# Inventories


@pytest.mark.parametrize("source", sorted((DOCS / "inventories").glob("*.txt")), ids=lambda path: path.stem)
def test_list_of_another_projects_objects_names_places_on_its_site(source):
    url, objects = inventories.read_list(source.read_text(encoding="utf-8"))
    assert re.fullmatch(r"https://\S+/", url)
    assert objects
    assert all(re.fullmatch(r"[\w./:#%-]+", address) for _, _, address in objects)
    assert len({(name, kind) for name, kind, _ in objects}) == len(objects)


def test_inventory_is_what_sphinx_reads(tmp_path):
    inventory = pytest.importorskip("sphinx.util.inventory").InventoryFile
    (tmp_path / "other.txt").write_text("https://example.org/\npy:class p/{}.html#{}\n    a.B\n    a.C = x.C\n")
    ((project, (url, path)),) = inventories.write_inventories(tmp_path, tmp_path / "built").items()
    classes = inventory.loads(Path(path).read_bytes(), uri=url).data["py:class"]
    assert (project, url) == ("other", "https://example.org/")
    assert {name: item.uri for name, item in classes.items()} == {
        "a.B": "https://example.org/p/a.B.html#a.B",
        "a.C": "https://example.org/p/x.C.html#x.C",
    }


# The check of a built site


@pytest.fixture
def site(tmp_path):
    """A tiny site without a fault: a home page, an example's page with a figure, a style."""
    (tmp_path / "site/auto_examples").mkdir(parents=True)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/plot_1.py").touch()
    home = '<a href="auto_examples/plot_1.html#scores">x</a><a href="https://example.org">y</a><img src="a.png">'
    (tmp_path / "site/index.html").write_text(f'<link rel="stylesheet" href="a.css">{home}')
    (tmp_path / "site/auto_examples/plot_1.html").write_text(
        '<p id="scores"><img src="../sphx_glr_plot_1_001.png" srcset="../sphx_glr_plot_1_001.png 1x">'
    )
    for name in ("a.png", "a.css", "sphx_glr_plot_1_001.png"):
        (tmp_path / "site" / name).write_text("p { color: red }")
    return tmp_path / "site"


def faults(site: Path) -> list[str]:
    """What the check says."""
    return list(check_site.faults(site, site.parent / "examples"))


def test_sound_site_has_no_faults(site):
    assert faults(site) == []


def test_folder_without_a_site_is_a_fault(tmp_path):
    (fault,) = faults(tmp_path)
    assert "make docs" in fault


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (
            "a.html",
            '<script src="https://cdn.example.org/x.js"></script>',
            "a.html: needs https://cdn.example.org/x.js",
        ),
        ("a.html", '<link rel="stylesheet" href="//fonts.example.org/x">', "a.html: needs //fonts.example.org/x"),
        ("b.css", "@font-face { src: url('https://example.org/x.woff2') }", "b.css: needs https://example.org/x.woff2"),
        ("a.html", '<img src="gone.png">', "a.html: gone.png is missing"),
        ("a.html", '<a href="gone.html">x</a>', "a.html: the link gone.html leads to no file"),
        ("a.html", '<a href="index.html#gone">x</a>', "a.html: the link index.html#gone leads to no place in its file"),
        ("a.html", '<a href="#gone">x</a>', "a.html: the link #gone leads to no place in its file"),
    ],
)
def test_fault_of_a_page_is_found(site, file, text, told):
    (site / file).write_text(text)
    assert faults(site) == [told]


def test_pages_that_only_name_another_site_need_nothing(site):
    (site / "a.html").write_text(
        '<link rel="canonical" href="https://example.org/a.html"><img src="data:image/png;base64,">'
    )
    assert faults(site) == []


def test_example_without_a_figure_is_found(site):
    (site / "auto_examples/plot_1.html").write_text('<p id="scores">')
    assert faults(site) == ["plot_1.py: its page has no figure"]


def test_example_without_a_page_is_found(site):
    (site.parent / "examples/plot_2.py").touch()
    assert faults(site) == ["plot_2.py: has no page"]


def test_check_exits_with_1_and_says_why(site, monkeypatch, capsys):
    arguments = ["check_site.py", str(site), "--examples", str(site.parent / "examples")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert check_site.main() == 0
    (site / "a.png").unlink()
    assert check_site.main() == 1
    assert "a.png is missing" in capsys.readouterr().out
