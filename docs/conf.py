"""Configuration of the documentation: `make docs` builds it without a network, with warnings as errors."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]
# For processes that examples start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))

from api_pages import documented_names, short_names  # noqa: E402
from inventories import write_inventories  # noqa: E402

import mne_specmoe  # noqa: E402

project = "mne-specmoe"
author = "mne-specmoe developers"
copyright = author
release = version = mne_specmoe.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "mathml",
    "object_pages",
    "plain_names",
]
exclude_patterns = ["_build", "_extensions", "_templates", "inventories", "**/README.md", "api/backreferences"]
templates_path = ["_templates"]
nitpicky = True
toc_object_entries_show_parents = "hide"  # the column beside a page is narrow

# Single backticks in docstrings: a link where they name something of ours, else plain code.
default_role = "plain"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections give the types, in words
autodoc_member_order = "bysource"

ours = short_names(documented_names(HERE / "api"))
plain_names_targets = ours
numpydoc_show_class_members = False  # the templates list them
numpydoc_attributes_as_param_list = True
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # types are words; those that have a page are linked
numpydoc_xref_aliases = ours | {
    **{name: f":obj:`{name}`" for name in ("mne.Epochs", "mne.EpochsArray", "mne.Info", "mne.io.Raw", "torch.device")},
    **{name: f":obj:`{name}`" for name in ("matplotlib.axes.Axes", "matplotlib.figure.Figure")},
    "Axes": "matplotlib.axes.Axes",
    "CSP": "mne.decoding.CSP",
    "Generator": "numpy.random.Generator",
    "RandomState": "numpy.random.RandomState",
    "Tensor": "torch.Tensor",
    "Path": "pathlib.Path",
    "ndarray": "numpy.ndarray",
    "nn.Module": "torch.nn.Module",
    "path-like": ":term:`path-like <python:path-like object>`",
    "skorch.NeuralNet": "skorch.net.NeuralNet",
}

intersphinx_mapping = write_inventories(HERE / "inventories", HERE / "_build" / "inventories")

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]plot_",
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("matplotlib", "running_examples.stay_offline", "running_examples.warn_briefly"),
    "reset_modules_order": "both",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("mne_specmoe",),
    "reference_url": {"mne_specmoe": None},
    "capture_repr": ("_repr_html_",),  # tables and diagrams of estimators, not matplotlib's Text(0.5, ...)
    "remove_config_comments": True,
    "show_signature": False,
    "matplotlib_animations": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "mne-specmoe"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no font from elsewhere
html_theme_options = {
    "logo": {"text": "mne-specmoe"},
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages without others below them.
html_sidebars = dict.fromkeys(["index", "auto_examples/index", "design", "scaling"], [])
