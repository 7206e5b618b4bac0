"""Settings of the documentation site: ``make docs`` builds it. Its pages open from a folder, without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx_gallery.sorting import ExplicitOrder

# Tutorials give the same figures on every machine.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The package that carries MathJax is named with dashes, so that it is found by its distribution's folder.
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg-full.js"

project = "hntk"
author = PROJECT["authors"][0]["name"]
copyright = author
release = version = PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# What an earlier build made of a tutorial that is gone is no page.
SCRIPTS = {script.stem for script in HERE.glob("tutorials/plot_*.py")}
gone = [f"auto_tutorials/{page.name}" for page in HERE.glob("auto_tutorials/plot_*.rst") if page.stem not in SCRIPTS]
exclude_patterns = ["tutorials/*.rst", "reference/generated/command_line.md", *gone]
nitpicky = True
# Private modules are named in docstrings for readers of the code and have no pages; so have names of other libraries.
OTHERS = "jax|numpy|np|optax|sklearn|collections|typing|pathlib"
nitpick_ignore_regex = [("py:mod", r"hntk\..*"), ("py:.*", rf"({OTHERS})\..*")]

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = ["config.cache"]

# API reference: docstrings state shapes and units, which types of signatures would only repeat
autosummary_generate = True
# a class and a function of one name but for its capital, Spectrum and spectrum, would share a file on some systems
NAMES = [f"{p}.{name}" for p in ("hntk", "hntk.asymptotics", "hntk.deploy") for name in import_module(p).__all__]
COUNTS = Counter(name.lower() for name in NAMES)
TWICE = [name for name in NAMES if COUNTS[name.lower()] > 1 and name.rpartition(".")[2][0].isupper()]
autosummary_filename_map = {name: f"{name}-class" for name in TWICE}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Tutorials: executed when the site is built
ORDER = ("paper_in_ten_minutes", "your_own_data", "your_own_activation", "learning_curves")
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "show_memory": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "copyfile_regex": r"(?!)",
    "within_subsection_order": ExplicitOrder([*(f"plot_{name}.py" for name in ORDER), "*"]),
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

# Pages
html_theme = "furo"
html_title = f"hntk {release}"
html_static_path = ["_static", str(MATHJAX)]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# MathJax as one file, which draws with paths and so needs no fonts; its menu could load more from elsewhere
mathjax_path = MATHJAX.name
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}


def adapt_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Link mentions of docs/theory.md to that page, and keep |x| and (n_,) as they are, which reST reads otherwise."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            linked = re.sub(r"(?<![`/])docs/theory\.md", ":doc:`docs/theory.md </theory>`", line)
            absolute = re.sub(r"(?<!`)\|(\S[^|`]*)\|", r"\|\1\|", linked)
            lines[number] = re.sub(r"\((\w+)_,\)", r"(\1\_,)", absolute)


def write_help(app: Sphinx) -> None:
    """Write what ``hntk --help`` and the help of each of its commands print, for the page of the command line."""

    def printed(*words: str) -> str:
        run = [sys.executable, "-c", "from hntk.__main__ import main; main()", *words, "--help"]
        environment = {**os.environ, "COLUMNS": "90", "PYTHONPATH": str(HERE.parent)}
        return subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout

    top = printed()
    commands = re.findall(r"^    ([a-z]+)", top.partition("\ncommands:\n")[2].partition("\n\n")[0], re.M)
    parts = {"hntk": top, **{f"hntk {command}": printed(command) for command in commands}}
    folder = HERE / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    text = "\n".join(f"## {title}\n\n```text\n{shown}```\n" for title, shown in parts.items())
    (folder / "command_line.md").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("builder-inited", write_help)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=400)
