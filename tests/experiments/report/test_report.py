"""Tests of the report: what it shows, that data cannot break it, and that a browser opens it without a fault."""

from __future__ import annotations

import html
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.report import templates
from experiments.report.page import Figure, Report, Section, write_report
from experiments.report.tables import Table, cell_text
from experiments.runner.jobs import Job
from experiments.runner.record import Record
from tests.support.chromium import browser, opened

COMMAND = "python -m experiments.run -m +exp=memory 'data.folder=a b' compress.levels=2,4"
HOSTILE = (
    '<script>throw new Error("x")</script> & \'quotes\' "both" <img src=http://elsewhere.example/x.png> \x1b[31mred\0'
)
WORSE = (
    "</script><script>alert(1)</script> x", "</title></style><style>body { display: none } </style>",
    "' onmouseover='alert(1)' title=\" onerror=\"alert(1)", "<svg/onload=alert(1)> <a href='javascript:alert(1)'>",
    "${script} $title $$ % {0} {title} \u2028 \u2029 ]]> --> <!-- &lt; &#60;",
    "words in their order, \u202e then not ]0;title\x07 & `<b>` ``",
)  # fmt: skip


class Page(HTMLParser):
    """A parsed page: its tags with attributes, its text, and which elements are not closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})
    INLINE = frozenset({"strong", "a", "span"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._part(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._part(tag)
        assert self.open.pop() == tag

    def _part(self, tag: str) -> None:
        if tag not in self.INLINE:
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


def job(folder: Path, name: str, commit: str = "a" * 40, levels: int = 2, dirty: bool = False, **fields) -> Job:
    own = folder / name
    own.mkdir()
    (own / "config.yaml").write_text(f"seed: 0\ncompress:\n  levels: {levels}\n  sparsity: 0.5\n")
    versions = {"seed": levels, "packages": {"jax": "0.10.2"}, "git": {"commit": commit, "dirty": dirty}}
    (own / "versions.json").write_text(json.dumps(versions))
    return replace(Job(name, "done", 30.0, own), **fields)


@pytest.fixture
def sweep(tmp_path: Path) -> Report:
    """Return a report of two finished jobs, one failed, one skipped and one missing, with a figure and a wide table."""
    mpl.use("Agg")
    record = Record(tmp_path)
    drawn, axes = plt.subplots(figsize=(6, 3))
    axes.plot([1, 2], [3, 4])
    record.add_figure("accuracy", drawn)
    plt.close(drawn)
    figure = Figure("Accuracy", "Mean of `draws=5`.", record.figures["accuracy"], 'a "rising" line', COMMAND)
    columns = ["network", "accuracy", "memory (kB)", *(f"another wide column {i}" for i in range(8))]
    rows = [["dense", 0.9331, 30312, *[None] * 8], ["2 levels", 0.8607, 1932, *[1.5] * 8], ["none", None, 7, *[2] * 8]]
    table = Table("Accuracy by network", columns, rows, best={"accuracy": "max", "memory (kB)": "min"})
    jobs = [
        job(tmp_path, "levels-2", seconds=3600.0),
        job(tmp_path, "levels-4", levels=4),
        job(tmp_path, "levels-3", state="failed", message="ValueError: levels=4 would do"),
        job(tmp_path, "levels-9", state="skipped", seconds=None, message="more than 8"),
        Job("levels-5", "missing", None, tmp_path / "levels-5"),
    ]
    sections = [Section("Main result", "One.\n\nTwo.", [figure], [table]), Section("Remarks", "Three.")]
    return Report("Memory", "Four levels are enough.", [COMMAND], sections, jobs, {"python": "3.11"}, "retry all")


def table_html(table: Table) -> str:
    return str(templates.ENVIRONMENT.get_template("report.parts.html").module.table(table, "t"))  # type: ignore[attr-defined]


def written(report: Report, folder: Path) -> Page:
    write_report(report, folder / "report.html")
    return Page(folder / "report.html")


def test_the_page_shows_all_of_the_sweep(sweep: Report, tmp_path: Path) -> None:
    page = written(sweep, tmp_path)
    assert not page.open
    for words in (
        "Four levels are enough.",
        "5 jobs: 2 done, 1 skipped, 1 missing, 1 failed; 1 h 1 min of computing",
        "2 jobs are not done",
        "ValueError: levels=4 would do",
        "retry all",
        "Figure 1: Accuracy. Mean of draws=5 .",
        "Table 1: Accuracy by network. Bold: the best of its column.",
        "compress.sparsity = 0.5",
        "levels-4 done 30.0 compress.levels=4 levels-4",
        "packages.jax 0.10.2",
        "python 3.11",
    ):
        assert words in page.text
    assert page.text.count(COMMAND) == 2
    assert page.all("alt") == ['a "rising" line']
    # 6 inches at 96 pixels
    assert next(attributes for tag, attributes in page.tags if tag == "img")["width"] == "576"


def test_problems_come_before_results_and_headings_step_by_one(sweep: Report, tmp_path: Path) -> None:
    page = written(sweep, tmp_path)
    assert page.text.index("are not done") < page.text.index("Contents") < page.text.index("One.")
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings == ["h1", *["h2"] * 5]
    assert page.tags[0] == ("html", {"lang": "en"})


def test_a_sweep_without_faults_has_no_box_and_an_empty_one_is_a_page(sweep: Report, tmp_path: Path) -> None:
    page = written(replace(sweep, jobs=sweep.jobs[:2], versions={}), tmp_path)
    assert not {"problems", "differences"} & set(page.all("id"))
    bare = written(Report("Nothing yet", "", [], []), tmp_path)
    assert "Nothing yet" in bare.text
    assert "How this was made" not in bare.text


def test_nothing_is_loaded_from_elsewhere(sweep: Report, tmp_path: Path) -> None:
    page = written(sweep, tmp_path)
    for attribute in ("src", "href", "srcset", "action", "poster", "data"):
        assert all(value.startswith(("data:", "#")) for value in page.all(attribute))
    style = re.search("<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import|https?:", style[1])


def test_ids_are_unique_and_all_anchors_lead_somewhere(sweep: Report, tmp_path: Path) -> None:
    page = written(replace(sweep, sections=[*sweep.sections, *sweep.sections]), tmp_path)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {"figure-2", "table-2", "section-4", "made"} <= set(ids)
    assert {href[1:] for href in page.all("href")} <= set(ids)
    assert set(page.all("aria-labelledby")) <= set(ids)


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [HOSTILE, *WORSE])
def test_data_cannot_become_markup(sweep: Report, tmp_path: Path, hostile: str) -> None:
    figure = replace(sweep.sections[0].figures[0], title=hostile, caption=hostile, alt=hostile, command=hostile)
    table = Table(hostile, [hostile, "b"], [[hostile, hostile]], hostile)
    failed = replace(sweep.jobs[2], name=hostile, message=hostile)
    (failed.folder / "config.yaml").write_text(json.dumps({"a<b>": hostile[:60]}))
    page = written(
        Report(hostile, hostile, [hostile], [Section(hostile, hostile, [figure], [table])], [failed], {"v": hostile}),
        tmp_path,
    )
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("img")) == (1, 1)
    # everything is present, as text
    assert page.text.count(" ".join(re.sub("[`\x00-\x1f\u202e]", " ", hostile)[:20].split())) > 15
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(value.startswith("#") for value in page.all("href"))
    text = (tmp_path / "report.html").read_text()
    assert not {"\x1b", "\0", "\u202e"} & set(text)
    assert "red\ufffd" in text or hostile != HOSTILE
    # the page's own style and script, and no other
    assert len(re.findall("<style", text)) == len(re.findall("<script", text)) == 1


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    assert "a\ufffdb" in written(Report("a\udc80b", "", [], []), tmp_path).text


@pytest.mark.parametrize(
    ("value", "spec", "shown"),
    [
        (None, "", "–"), ("", "", "–"), (math.nan, ".3f", "NaN"), (math.inf, "", "∞"), (-math.inf, ",d", "−∞"),
        (-0.0048, ".4f", "−0.0048"), (1e-5, "", "1e−05"), (30312052, "", "30,312,052"), (10**400, "", f"{10**400:,}"),
        (True, "", "True"), ("a-b", ".3f", "a-b"),
    ],
)  # fmt: skip
def test_every_value_has_a_cell(value: object, spec: str, shown: str) -> None:
    assert cell_text(value, spec) == shown


def test_floats_of_like_size_line_up_and_others_keep_their_digits() -> None:
    text = table_html(Table("t", ["a", "b"], [[0.93, 1e-9], [0.7146, 2.0], [math.nan, np.float32(0.5)]]))
    assert ">0.9300<" in text
    assert ">0.7146<" in text
    assert ">1e−09<" in text
    assert 'data-value="0.5">0.5<' in text
    assert "nan" not in text


def test_every_text_equal_to_the_best_is_bold_and_infinities_never_are() -> None:
    rows = [["a", 0.91111], ["b", 0.91112], ["c", 0.5], ["d", math.inf], ["e", None]]
    text = table_html(Table("t", ["name", "x"], rows, formats={"x": ".3f"}, best={"x": "max"}))
    assert re.findall("<strong>([^<]*)</strong></td>", text) == ["0.911", "0.911"]
    none = table_html(Table("t", ["name", "x"], rows[3:], best={"x": "min"}))
    assert "<strong>–" not in none


def test_a_table_that_does_not_fit_together_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 1 has 1 values: give one per column"):
        Table("t", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="name one of 'a'"):
        Table("t", ["a"], [], best={"b": "max"})
    with pytest.raises(ValueError, match="'max' or its 'min'"):
        Table("t", ["a"], [], best={"a": "most"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"use one like '\.4f'"):
        table_html(Table("t", ["a"], [[0.5]], formats={"a": "d"}))


def test_jobs_of_one_message_are_grouped(sweep: Report, tmp_path: Path) -> None:
    failed = [Job(f"job-{i}", "failed", None, tmp_path / str(i), "out of memory") for i in range(20)]
    page = written(replace(sweep, jobs=failed), tmp_path)
    box = page.text[: page.text.index("Contents")]
    assert box.count("out of memory") == 1
    assert "and 12 other jobs" in box


def test_many_problems_do_not_bury_the_results(sweep: Report, tmp_path: Path) -> None:
    failed = [Job(f"job-{i}", "failed", None, tmp_path / str(i), f"fault {i}") for i in range(20)]
    write_report(replace(sweep, jobs=failed, retry=""), tmp_path / "report.html")
    box = (tmp_path / "report.html").read_text().partition("<nav")[0]
    shown, hidden = box.split("<details>")
    assert [f"fault {i}<" in shown for i in range(20)] == [True] * 5 + [False] * 15
    assert "15 more problems" in hidden
    assert "fault 19<" in hidden


def test_jobs_of_different_code_are_listed_in_a_warning(sweep: Report, tmp_path: Path) -> None:
    other = [job(tmp_path, f"other-{i}", commit="b" * 40, dirty=i == 0) for i in range(2)]
    page = written(replace(sweep, jobs=[*sweep.jobs, *other]), tmp_path)
    warning = page.text[page.text.index("Not from one state") : page.text.index("Contents")]
    assert "aaaaaaaaaa (4 jobs); bbbbbbbbbb (2 jobs: other-0, other-1)" in warning
    assert "not committed: 1 job: other-0" in warning
    # seeds and settings are meant to differ
    assert "seed" not in warning
    assert "jax" not in warning


def test_a_report_of_other_code_than_its_jobs_says_so(sweep: Report, tmp_path: Path) -> None:
    page = written(replace(sweep, versions={"seed": 7, "git": {"commit": "c" * 40, "dirty": False}}), tmp_path)
    assert "cccccccccc (this report)" in page.text


def test_folders_are_named_as_seen_from_the_report(sweep: Report, tmp_path: Path) -> None:
    written(sweep, tmp_path)
    assert str(tmp_path) not in (tmp_path / "report.html").read_text()


def test_a_missing_or_wrong_picture_says_what_to_do(sweep: Report, tmp_path: Path) -> None:
    figure = replace(sweep.sections[0].figures[0], png=tmp_path / "nothing.png")
    wrong = replace(sweep, sections=[Section("s", "", [figure])])
    with pytest.raises(FileNotFoundError, match="run the job that draws it again"):
        write_report(wrong, tmp_path / "report.html")
    figure.png.write_text("no picture")
    with pytest.raises(ValueError, match=r"Record\.add_figure"):
        write_report(wrong, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_broken_file_of_a_job_is_refused_with_a_remedy(sweep: Report, tmp_path: Path) -> None:
    for name, text in (("versions.json", "{"), ("config.yaml", "a: [")):
        broken = job(tmp_path, f"broken-{name}")
        (broken.folder / name).write_text(text)
        with pytest.raises(ValueError, match="remove its folder and run the job again"):
            write_report(replace(sweep, jobs=[broken]), tmp_path / "report.html")
    with pytest.raises(ValueError, match="a state is one of failed, missing, skipped, done"):
        Job("a", "lost", None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'levels-2': give each its own"):
        write_report(replace(sweep, jobs=[sweep.jobs[0]] * 2), tmp_path / "report.html")


def test_a_write_that_fails_leaves_the_old_report(
    sweep: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new folder" / "report.html"
    write_report(sweep, path)
    before = path.read_bytes()
    write_report(sweep, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_report(replace(sweep, title="Another"), path)
    assert path.read_bytes() == before


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    digits = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_in_light_dark_and_print() -> None:
    style = (templates.FOLDER / "report.css").read_text()
    themes = [dict(re.findall(r"--([a-z-]+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(themes) == 3
    pairs = [(ink, paper) for ink in ("text", "soft", "link", "good", "bad") for paper in ("page", "card", "stripe")]
    pairs += [("bad", "bad-card"), ("warn", "warn-card"), ("text", "bad-card"), ("text", "warn-card")]
    for theme in themes:
        for ink, paper in pairs:
            low, high = sorted((luminance(theme[ink]), luminance(theme[paper])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


# A script in the page that collects faults, sorts the first table by its second column, and reports to the frame.
PROBE = """<script>
const faults = [];
addEventListener("error", (e) => faults.push(e.message || e.target.tagName), true);
addEventListener("load", () => {
  const table = document.querySelector("main table"), head = table.rows[0].cells[1], orders = [];
  for (let i = 0; i < 2; i++) {
    head.querySelector("button").click();
    orders.push([head.ariaSort, ...[...table.tBodies[0].rows].map((row) => row.cells[0].textContent)]);
  }
  const page = document.documentElement;
  parent.postMessage({ faults, orders, overflow: page.scrollWidth - page.clientWidth,
    images: [...document.images].map((image) => image.naturalWidth),
    figure: document.images[0].getBoundingClientRect().width,
    scrolls: table.parentElement.scrollWidth > table.parentElement.clientWidth }, "*");
});
</script>"""
FRAME = """<!DOCTYPE html><script>
addEventListener("message", (e) => { document.documentElement.dataset.found = JSON.stringify(e.data); });
</script><iframe src="copy.html" style="border: 0; width: WIDTHpx; height: 800px"></iframe>"""


def seen(text: str, folder: Path, width: int) -> tuple[dict, list[str]]:
    """Return what a browser makes of a page in a window of some width."""
    probed = re.sub("script-src [^;]*", "script-src 'unsafe-inline'", text).replace("<head>", "<head>" + PROBE, 1)
    (folder / "copy.html").write_text(probed, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    page, console = opened(folder / "frame.html")
    found = re.search('data-found="([^"]*)"', page)
    assert found is not None, page[:2000]
    return json.loads(html.unescape(found[1])), console


@browser
@pytest.mark.slow
def test_a_browser_opens_the_page_without_a_fault(sweep: Report, tmp_path: Path) -> None:
    write_report(sweep, tmp_path / "report.html")
    page, console = opened(tmp_path / "report.html")
    assert console == []
    # only the page's script makes buttons, so its hash was accepted
    assert "<button" in page


@browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_pictures_show_tables_sort_and_the_page_never_scrolls_sideways(
    sweep: Report, tmp_path: Path, width: int
) -> None:
    write_report(sweep, tmp_path / "report.html")
    found, console = seen((tmp_path / "report.html").read_text(), tmp_path, width)
    assert console == found["faults"] == []
    assert found["images"] == [960]
    assert found["figure"] == 576
    assert found["overflow"] == 0
    assert found["scrolls"]
    assert found["orders"] == [["ascending", "2 levels", "dense", "none"], ["descending", "dense", "2 levels", "none"]]


@browser
@pytest.mark.slow
def test_the_browser_notices_what_is_broken(sweep: Report, tmp_path: Path) -> None:
    write_report(sweep, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    found, _ = seen(text.replace("base64,iVBOR", "base64,AAAAA"), tmp_path, 1400)
    assert found["images"] == [0]
    assert found["faults"] == ["IMG"]
    found, console = seen(text.replace("</main>", "</main><script>nothing()</script>"), tmp_path, 1400)
    assert any("nothing is not defined" in fault for fault in found["faults"])
    assert any("nothing is not defined" in line for line in console)
    wide = text.replace("</main>", '</main><hr width="2000">')
    assert seen(wide, tmp_path, 1400)[0]["overflow"] > 0


@browser
@pytest.mark.slow
def test_a_script_that_is_not_the_pages_own_does_not_run(sweep: Report, tmp_path: Path) -> None:
    write_report(sweep, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    (tmp_path / "other.html").write_text(text.replace("</main>", "</main><script>document.title = 'taken'</script>"))
    page, console = opened(tmp_path / "other.html")
    assert "taken</title>" not in page
    assert any("Content Security Policy" in line for line in console)
