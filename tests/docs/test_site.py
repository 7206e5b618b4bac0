"""The documentation site: its sources hold together, it builds without a warning, and a browser opens all its pages."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import hntk
import hntk.deploy
import hntk.interchange
import hntk.plot
import hntk.sklearn
from experiments.runner import catalog
from tests.docs.check_site import faults
from tests.support.chromium import browser, opened

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
BUILT = ("auto_tutorials", "generated")
PAGES = sorted(path for path in DOCS.rglob("*.md") if not set(BUILT) & set(path.relative_to(DOCS).parts))
LINKING = [README, ROOT / "CONTRIBUTING.md", *PAGES]
PACKAGES = (hntk, hntk.asymptotics, hntk.deploy, hntk.interchange, hntk.plot, hntk.sklearn)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fences(text: str, language: str = "") -> list[str]:
    """Return the blocks of a page in a language, without a language by default, in order."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [block for info, block in blocks if info.strip() == language]


def toctree(page: Path) -> list[Path]:
    """Return the sources that a page's tables of contents name."""
    entries: list[Path] = []
    for block in fences(text_of(page), "{toctree}"):
        names = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")]
        entries += [page.parent / f"{name}.md" for name in names if not name.startswith(BUILT)]
    return entries


def test_every_page_is_in_a_table_of_contents() -> None:
    reached, ahead = set(), [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        assert page.is_file(), f"a table of contents names {page.relative_to(DOCS)}, which does not exist"
        assert page not in reached, f"{page.relative_to(DOCS)} is in two tables of contents"
        reached.add(page)
        ahead += toctree(page)
    assert set(PAGES) == reached


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        address, _, anchor = link.partition("#")
        if re.match(r"https?:|mailto:", address) or set(BUILT) & set(Path(address).parts):
            continue
        target = (page.parent / address).resolve() if address else page
        assert target.exists(), f"{link} does not exist"
        assert not anchor or anchor in anchors(target), f"{link} has no such heading"


def gallery() -> dict[str, str]:
    """Return the figures of the gallery with the command under each."""
    parts = re.findall(
        r"^\[!\[[^\]]*\]\(([^)]*)\)\][^\n]*\n\n```\n(.*?)^```$", text_of(DOCS / "gallery.md"), re.M | re.S
    )
    return dict(parts)


def test_the_gallery_shows_every_figure_with_the_command_that_draws_it() -> None:
    catalog.register()
    shown = gallery()
    assert sorted(shown) == sorted(path.name for path in DOCS.glob("*.png"))
    for figure, command in shown.items():
        words = shlex.split(command.replace("\\\n", " "))
        assert words[:3] == ["python", "-m", "experiments.run"], figure
        (name,) = (word.removeprefix("+exp=") for word in words if word.startswith("+exp="))
        catalog.find(name)


def test_every_figure_of_the_gallery_is_told_about_on_a_page_of_benchmarks() -> None:
    pages = "".join(text_of(page) for page in (DOCS / "benchmarks").glob("*.md"))
    assert [figure for figure in gallery() if f"](../{figure})" not in pages] == []


def test_every_table_of_benchmarks_has_a_command_on_its_page() -> None:
    for page in set((DOCS / "benchmarks").glob("*.md")):
        for section in re.split(r"^## ", text_of(page), flags=re.M):
            if re.search(r"^\|---", section, re.M):
                assert re.search(r"experiments\.run|\+exp=|make gmm|`python ", section), f"{page.name}: {section[:60]}"


def test_the_reference_has_one_entry_for_every_public_name() -> None:
    entries: Counter[str] = Counter()
    for page in (DOCS / "reference").glob("*.md"):
        module = "hntk"
        for block in fences(text_of(page), "{eval-rst}"):
            module = next(iter(re.findall(r"currentmodule:: (\S+)", block)), module)
            _, _, names = block.partition(".. autosummary::")
            entries.update(f"{module}.{name}" for name in re.findall(r"^   ([A-Za-z_][\w.]*)$", names, re.M))
    public = {f"{package.__name__}.{name}" for package in PACKAGES for name in package.__all__} - {"hntk.asymptotics"}
    assert sorted(public - entries.keys()) == [], "add these to a page of docs/reference"
    assert sorted(name for name in entries if entries[name] > 1) == []
    for name in entries.keys() - public:
        module, _, attribute = name.rpartition(".")
        assert hasattr(sys.modules.get(module) or __import__(module, fromlist=["*"]), attribute), name


def test_the_readme_is_short_and_begins_with_the_two_commands_that_set_everything_up() -> None:
    text = text_of(README)
    assert len(text.splitlines()) <= 150
    assert [block.strip() for block in fences(text)[:2]] == ["make gmm", "make test"]
    assert len(re.findall(r"^!\[", text, re.M)) == 1


# ---------------------------------------------------------------------------------------------------- the built site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does."""
    if find_spec("furo") is None or find_spec("sphinx_gallery") is None:
        pytest.skip("needs what make setup-docs installs")
    folder = tmp_path_factory.mktemp("site")
    shutil.rmtree(DOCS / "reference" / "generated", ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-n", "-b", "html", "-d", str(folder / "doctrees")]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-5000:]
    return folder / "html"


@pytest.mark.nightly
def test_the_site_builds_without_a_warning_has_no_dead_link_and_loads_nothing_from_elsewhere(site: Path) -> None:
    assert list(faults(site)) == []
    assert len(list(site.rglob("*.html"))) > 150


def test_the_check_of_the_site_notices_what_is_broken(tmp_path: Path) -> None:
    page = '<html><body id="top"><a href="b.html#there">b</a><a href="#top">t</a><img src="https://x.example/a.png">'
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "b.html").write_text('<html><body><a href="c.html">c</a></body></html>', encoding="utf-8")
    (tmp_path / "s.css").write_text("@import url(https://x.example/font.css);", encoding="utf-8")
    assert list(faults(tmp_path)) == [
        "a.html loads https://x.example/a.png",
        "a.html: b.html#there has no such anchor",
        "b.html: c.html does not exist",
        "s.css loads url(https://x.example/font.css",
    ]


# In every page: what fails to load or to run is noted and told to the frame around it, with how far the page or
# its text can be scrolled sideways and how many formulas MathJax has set.
PROBE = """<script>
const faults = [];
addEventListener("error", (e) => faults.push(e.message || e.target.src || e.target.href || e.target.tagName), true);
addEventListener("unhandledrejection", (e) => faults.push(String(e.reason)));
addEventListener("load", async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const page = document.documentElement;
  const sideways = (part) => { part.scrollTo({ left: 1e5, behavior: "instant" }); return part.scrollLeft; };
  const parts = [...document.querySelectorAll(".page, .main, .content, article")].map(sideways);
  parent.postMessage({ faults, overflow: Math.max(page.scrollWidth - page.clientWidth, ...parts),
    formulas: document.querySelectorAll(".math").length, set: document.querySelectorAll("mjx-container").length,
    wrong: document.querySelectorAll("[data-mjx-error], mjx-merror").length }, "*");
});
</script>"""
# Opens one page after another at every width, and keeps what they tell.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe style="border: 0; height: 900px"></iframe><script>
const views = VIEWS, told = [], frame = document.querySelector("iframe");
const next = () => {
  if (told.length === views.length) { document.documentElement.dataset.told = JSON.stringify(told); return; }
  const [page, width] = views[told.length];
  frame.style.width = width + "px";
  frame.src = page;
};
addEventListener("message", (e) => { told.push(e.data); next(); });
next();
</script>"""
WIDTHS = (390, 1280)
AT_ONCE = 30


def seen(site: Path, pages: list[Path], profile: Path) -> tuple[list[tuple[Path, int, dict]], list[str]]:
    """Return what a browser makes of pages at every width, and the messages on its console."""
    views = [(page, width) for page in pages for width in WIDTHS]
    for page in pages:
        copy = page.with_name(f"probed-{page.name}")
        copy.write_text(text_of(page).replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    addresses = [[f"{page.parent.relative_to(site)}/probed-{page.name}", width] for page, width in views]
    frame = site / "frame.html"
    frame.write_text(FRAME.replace("VIEWS", json.dumps(addresses)), encoding="utf-8")
    text, console = opened(frame, milliseconds=120_000, profile=profile)
    frame.unlink()
    for page in pages:
        page.with_name(f"probed-{page.name}").unlink()
    told = re.search('data-told="([^"]*)"', text)
    assert told is not None, (console, text[:500])
    results = json.loads(told[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return [(page, width, result) for (page, width), result in zip(views, results, strict=True)], console


@browser
@pytest.mark.nightly
def test_a_browser_opens_every_page_at_two_widths_without_a_fault(site: Path, tmp_path: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    formulas = 0
    for start in range(0, len(pages), AT_ONCE):
        results, console = seen(site, pages[start : start + AT_ONCE], tmp_path)
        assert console == []
        for page, width, result in results:
            formulas += result["set"]
            where = f"{page.relative_to(site)} at {width} pixels"
            assert result["faults"] == [], where
            assert result["overflow"] <= 0, where
            assert result["wrong"] == 0, where
            assert result["set"] >= result["formulas"], where
    assert formulas > 1000


@browser
@pytest.mark.nightly
def test_the_browser_notices_what_is_broken(site: Path, tmp_path: Path) -> None:
    broken = site / "broken.html"
    wide = '<img src="nowhere.png"><hr style="width: 3000px">'
    broken.write_text(text_of(site / "install.html").replace("</article>", wide + "</article>", 1), encoding="utf-8")
    results, _ = seen(site, [broken], tmp_path)
    broken.unlink()
    assert [result["overflow"] > 0 for _, _, result in results] == [True, True]
    assert all("nowhere.png" in " ".join(result["faults"]) for _, _, result in results)
