"""Tests of fetching: files are checked before they are put in place, none is destroyed, and failures say what to do.

The server is a stand-in on the loopback address with a small data set, whose checksums are put into the table.
"""

import contextlib
import errno
import gzip
import hashlib
import importlib
import os
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from experiments.fetch import fetch, sources
from experiments.fetch.downloads import Client
from hntk.data import load_dataset
from hntk.data.idx import find_idx_files, open_unzipped
from tests.support.command_line import ROOT, run_here

NAMES = sources.NAMES
IMAGES, LABELS, TEST_IMAGES = NAMES["x_train"], NAMES["y_train"], NAMES["x_test"]


def contents():
    """Return the four files, unzipped, written by the definition of the format."""
    rng = np.random.default_rng(0)
    arrays = {key: rng.integers(0, 256, (n, 40, 30)) for key, n in (("x_train", 90), ("x_test", 30))}
    arrays |= {key: np.arange(n) % 3 for key, n in (("y_train", 90), ("y_test", 30))}
    return {
        key: struct.pack(f">HBB{a.ndim}I", 0, 8, a.ndim, *a.shape) + a.astype(np.uint8).tobytes()
        for key, a in arrays.items()
    }


CONTENTS = contents()
SHA256 = {key: hashlib.sha256(CONTENTS[key]).hexdigest() for key in NAMES}
ZIPPED = {NAMES[key]: gzip.compress(content, mtime=0) for key, content in CONTENTS.items()}
KILOBYTES = sum(map(len, ZIPPED.values())) / 1000


class StandIn(ThreadingHTTPServer):
    """A server of the four files.

    ``odd`` maps a file name to what happens in place of its delivery: a function of the handler and the content.
    """

    daemon_threads = True

    def __init__(self, files=ZIPPED):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.odd, self.asked, self.released = dict(files), {}, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/data/"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self):
        self.released.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/data/")
        self.server.asked.append(name)
        self.server.odd.get(name, deliver)(self, self.server.files[name])

    def log_message(self, *_):
        pass


def deliver(handler, content, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def answer(status):
    return lambda handler, _: handler.send_error(status)


def cut_short(handler, content):
    deliver(handler, content[:-100], len(content))


def cut_short_unnoticed(handler, content):
    deliver(handler, content[:-100])


def web_page(handler, _):
    deliver(handler, b"<html>Please log in</html>")


def tampered(handler, content):
    data = bytearray(gzip.decompress(content))
    data[-1] ^= 1
    deliver(handler, gzip.compress(bytes(data)))


def silent(handler, _):
    handler.server.released.wait(20)


def silent_midway(handler, content):
    deliver(handler, content[:100], len(content))
    handler.server.released.wait(20)


@pytest.fixture
def server(monkeypatch):
    """Yield the stand-in as the only mirror of a data set called mnist."""
    started = StandIn()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HNTK_DATA", raising=False)
    monkeypatch.setitem(sources.SOURCES, "mnist", sources.Source((started.url,), SHA256, round(KILOBYTES)))
    yield started
    started.stop()


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the experiment with settings, by default without retries, which take time."""

    def with_settings(*words, folder=tmp_path / "data"):
        words = ["+exp=fetch", "experiment.retries=0", *([] if folder is None else [f"data.folder={folder}"]), *words]
        return run_here(tmp_path / "out", *words)

    return with_settings


def put(folder, names=None, **changed):
    """Write the files, with some contents changed (None leaves a file out)."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in (names or NAMES).items():
        content = changed.get(key, ZIPPED[NAMES[key]])
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- files that are fetched ---


def test_files_are_fetched_whole_and_load(server, run, tmp_path, capsys):
    record = run()
    folder = tmp_path / "data"
    assert snapshot(folder) == {f"mnist/{name}": content for name, content in ZIPPED.items()}
    assert record.metrics == {"fetched": 4}
    data = load_dataset("mnist", folder=folder, normalize=False)
    assert (data.x_train.shape, data.x_test.shape, data.image_shape) == ((90, 1200), (30, 1200), (40, 30))
    np.testing.assert_array_equal(data.y_train, np.arange(90) % 3)
    assert data.x_train.astype(np.uint8).tobytes() == CONTENTS["x_train"][16:]
    assert f"+exp=mnist data=mnist data.folder={folder}" in capsys.readouterr().out.replace("\n", "")


def test_the_folder_may_come_from_the_environment_and_files_are_readable_by_others(server, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HNTK_DATA", str(tmp_path / "by" / "environment"))
    former = os.umask(0o022)
    try:
        run(folder=None)
    finally:
        os.umask(former)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "by" / "environment" / "mnist").iterdir()}
    assert modes == {0o644}


@pytest.mark.parametrize("given", ["data", "data/mnist"])
def test_right_files_are_left_alone(server, run, tmp_path, capsys, given):
    names = {key: name.replace("-idx", ".idx").removesuffix(".gz") for key, name in NAMES.items()}
    put(tmp_path / "data" / "mnist", names, x_train=CONTENTS["x_train"])
    before = snapshot(tmp_path / "data")
    assert run(folder=tmp_path / given).metrics == {"fetched": 0}
    assert snapshot(tmp_path / "data") == before
    assert server.asked == []
    assert "nothing to fetch" in capsys.readouterr().out


def test_only_what_is_missing_is_fetched(server, run, tmp_path):
    put(tmp_path / "data" / "mnist", x_test=None)
    run()
    assert server.asked == [TEST_IMAGES]
    assert snapshot(tmp_path / "data" / "mnist") == ZIPPED


def test_another_address_may_be_named(server, run, tmp_path):
    other = StandIn()
    try:
        run(f"experiment.url={other.url.removesuffix('/')}")
    finally:
        other.stop()
    assert (len(other.asked), server.asked) == (4, [])


def test_files_that_one_mirror_lacks_come_from_the_next(server, run, tmp_path, monkeypatch):
    first = StandIn()
    first.odd[LABELS] = tampered
    monkeypatch.setitem(sources.SOURCES, "mnist", sources.Source((first.url, server.url), SHA256, 1))
    try:
        run()
    finally:
        first.stop()
    assert first.asked == [IMAGES, LABELS]
    assert server.asked == [LABELS, TEST_IMAGES, NAMES["y_test"]]
    assert snapshot(tmp_path / "data" / "mnist") == ZIPPED


def test_a_failed_attempt_is_repeated(server, run, tmp_path):
    def once(handler, _):
        del server.odd[LABELS]
        handler.send_error(503)

    server.odd[LABELS] = once
    run("experiment.retries=1")
    assert server.asked.count(LABELS) == 2
    assert snapshot(tmp_path / "data" / "mnist") == ZIPPED


def test_progress_ends_at_the_size_of_the_files_whatever_was_begun_again(server, tmp_path):
    def once(handler, content):
        del server.odd[IMAGES]
        cut_short(handler, content)

    server.odd[IMAGES], counted = once, []
    Client(counted.append, timeout=5, retries=1, max_bytes=10**6).fetch(server.url + IMAGES, tmp_path / IMAGES)
    assert sum(counted) == pytest.approx(len(ZIPPED[IMAGES]) / 1000)
    assert min(counted) < 0


# --- servers that send too much ---


def endless(handler, _):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.released.is_set():
            handler.wfile.write(bytes(1 << 20))
            handler.server.sent += 1 << 20


def declared(size):
    return lambda handler, _: deliver(handler, b"", size)


def redirected(handler, _):
    """Redirect to itself, each time with a large body."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", str(1 << 40))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(bytes(1 << 16))


def elsewhere(handler, _):
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def bomb(handler, _):
    deliver(handler, gzip.compress(bytes(30_000_000), 1))


GREEDY = {
    "endless": (endless, r"larger than [\d,]+ bytes, which the data set has not"),
    "declared": (declared(10**12), r"larger than [\d,]+ bytes, which the data set has not"),
    "redirected": (redirected, "redirects more than 5 times"),
    "elsewhere": (elsewhere, "cannot be reached .*file"),
    "gzip bomb": (bomb, r"unzips to more than [\d,]+ bytes"),
}


@pytest.mark.parametrize(("how", "message"), GREEDY.values(), ids=GREEDY)
def test_no_more_is_taken_than_the_source_leads_to_expect(server, run, tmp_path, how, message):
    server.odd[IMAGES], server.sent = how, 0
    with pytest.raises(OSError, match=message):
        run("experiment.timeout=5")
    assert snapshot(tmp_path / "data") == {}
    # sockets buffer some more
    assert server.sent < sources.SOURCES["mnist"].max_bytes + 20_000_000


def test_files_are_stored_as_the_server_stores_them(server, run, tmp_path):
    """Some servers claim that a zipped file was zipped on the way; some redirect."""

    def called_zipped(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def moved(handler, _):
        del server.odd[LABELS]
        handler.send_response(301)
        handler.send_header("Location", LABELS)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.odd |= {IMAGES: called_zipped, LABELS: moved}
    run()
    assert snapshot(tmp_path / "data" / "mnist") == ZIPPED
    assert server.asked.count(LABELS) == 2


def test_a_file_that_is_there_and_unzips_to_no_end_is_wrong(server, run, tmp_path):
    put(tmp_path / "data" / "mnist", x_train=gzip.compress(bytes(30_000_000), 1))
    with pytest.raises(ValueError, match=r"unzips to more than [\d,]+ bytes.*Nothing was changed"):
        run()
    assert server.asked == []


# --- failures of the network ---

FAILURES = {
    "not there": (answer(404), "the server answered 404"),
    "server broken": (answer(503), "the server answered 503"),
    "cut short": (cut_short, "the download broke off"),
    "cut short unnoticed": (cut_short_unnoticed, "is a damaged gzip file"),
    "tampered": (tampered, f"holds the wrong data .sha256 [0-9a-f]{{64}} unzipped, not {SHA256['x_test']}"),
    "web page": (web_page, "holds the wrong data"),
    "silent": (silent, r"no answer within 0\.3 s"),
    "silent midway": (silent_midway, r"no answer within 0\.3 s"),
}


@pytest.mark.often(
    "True-tampered",
    "False-not there",
    "False-server broken",
    "False-cut short",
    "False-cut short unnoticed",
    "False-tampered",
    "False-web page",
    "False-silent",
    "False-silent midway",
)
@pytest.mark.parametrize(("odd", "message"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_failures_leave_nothing_and_say_what_to_do(server, run, tmp_path, odd, message, overwrite):
    server.odd[TEST_IMAGES] = odd
    folder = tmp_path / "data"
    if overwrite:
        put(folder / "mnist", x_train=None, x_test=b"mine")
    before = snapshot(folder)
    remedy = rf"experiment\.url=.*By hand: download .*{TEST_IMAGES}.* into {folder / 'mnist'}; then the same command"
    with pytest.raises(OSError, match=rf"{server.url}: {TEST_IMAGES}:? {message}.*{remedy}"):
        run(f"experiment.timeout={0.3 if 'no answer' in message else 20}", f"experiment.overwrite={overwrite}")
    assert server.asked == ([IMAGES, TEST_IMAGES] if overwrite else [IMAGES, LABELS, TEST_IMAGES])
    assert snapshot(folder) == before
    assert (folder / "mnist").exists() == overwrite


def test_no_connection(server, run, tmp_path):
    server.stop()
    with pytest.raises(OSError, match=rf"{IMAGES}: cannot be reached \(\[Errno \d+\] Connection refused\)\. Check the"):
        run()
    assert snapshot(tmp_path / "data") == {}


def test_an_address_that_is_none(server, run):
    with pytest.raises(OSError, match=r"nowhere: .* cannot be reached .No scheme supplied.*experiment\.url=ADDRESS"):
        run("experiment.url=nowhere")


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.delitem(sys.modules, "experiments.fetch.downloads")
    with pytest.raises(ImportError, match="fetching needs requests: python -m pip install requests"):
        importlib.import_module("experiments.fetch.downloads")


# --- files in the folder already ---

WRONG = {
    "other content": (gzip.compress(CONTENTS["y_train"]), r"holds the wrong data"),
    "truncated": (ZIPPED[IMAGES][:-50], r"is a damaged gzip file"),
    "truncated, unzipped": (CONTENTS["x_train"][:-50], r"holds the wrong data"),
    "empty": (b"", r"holds the wrong data"),
}


@pytest.mark.often(
    "empty-train-images-idx3-ubyte.gz",
    "other content-train-images-idx3-ubyte",
    "truncated-train-images-idx3-ubyte.gz",
    "truncated, unzipped-train-images-idx3-ubyte",
)
@pytest.mark.parametrize("name", [IMAGES, IMAGES.removesuffix(".gz")])
@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files_are_replaced_only_on_request(server, run, tmp_path, capsys, name, content, message):
    folder = put(tmp_path / "data" / "mnist", NAMES | {"x_train": name}, x_train=content)
    (folder / "notes.txt").write_bytes(b"mine")
    before = snapshot(folder)
    with pytest.raises(ValueError, match=rf"{name} {message}.*Nothing was changed\..*experiment\.overwrite=true"):
        run()
    assert (snapshot(folder), server.asked) == (before, [])
    run("experiment.overwrite=true")
    assert (snapshot(folder), server.asked) == (ZIPPED | {"notes.txt": b"mine"}, [IMAGES])
    assert f"to be replaced: {name}" in capsys.readouterr().out


def test_two_files_of_one_part(server, run, tmp_path):
    folder = put(tmp_path / "data" / "mnist")
    (folder / IMAGES.removesuffix(".gz")).write_bytes(CONTENTS["x_train"])
    with pytest.raises(ValueError, match=r"is ambiguous: .* hold the same part; keep one"):
        run("experiment.overwrite=true")


@pytest.mark.slow
@pytest.mark.parametrize("archive", ["mnist.npz", "mnist/own.npz"])
def test_an_archive_is_not_hidden(server, run, tmp_path, archive):
    path = tmp_path / "data" / archive
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match=rf"{path} is what load_dataset finds .*: use it as it is, move it away"):
        run("experiment.overwrite=true")
    assert (path.read_bytes(), server.asked) == (b"mine", [])


# --- places that cannot be used ---


def test_no_folder(server, run):
    with pytest.raises(FileNotFoundError, match=r"no data folder is set: .*data\.folder=PATH.*HNTK_DATA"):
        run(folder=None)


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("file", ValueError, r"file is a file: data\.folder must be a folder"),
        ("file/below", OSError, r"below cannot be written \(Not a directory\).*data\.folder=PATH"),
        ("folder", ValueError, r"mnist is a file where a folder is needed: move it away"),
    ],
)
def test_files_where_folders_are_needed(server, run, tmp_path, place, kind, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mnist").touch()
    with pytest.raises(kind, match=message):
        run(folder=tmp_path / place)
    assert server.asked == []


@pytest.mark.parametrize(
    ("stop", "raised"),
    [(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "interrupt"],
)
def test_nothing_half_written_is_left(server, run, tmp_path, monkeypatch, stop, raised):
    def breaks_off(source, target):
        target.write_bytes(source.read_bytes()[:50])
        if source.name == TEST_IMAGES:
            raise stop
        target.write_bytes(source.read_bytes())

    folder = put(tmp_path / "data" / "mnist", x_train=None, x_test=b"mine")
    monkeypatch.setattr(fetch.shutil, "copyfile", breaks_off)
    message = r"mnist cannot be written \(No space left on device\): free some space" if raised is OSError else None
    with pytest.raises(raised, match=message):
        run("experiment.overwrite=true")
    assert snapshot(folder) == ZIPPED | {TEST_IMAGES: b"mine"}


# --- data sets that cannot be fetched ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data=cifar_features"],
            r"cifar10_features cannot.*96 pixels.*EfficientNet-Lite0.*ImageNet.*512.*VGG-19.*x_tr",
        ),
        (["data=gmm"], r"drawn anew in every run: there is nothing to fetch\. Run \+exp=gmm"),
        (["data.name=cats"], r"no source of 'cats' is known: choose among mnist, fashion_mnist\..*\.npz with x_train"),
    ],
)
def test_other_data_sets_say_why_not(server, run, words, message):
    with pytest.raises(ValueError, match=message):
        run(*words)


# --- the command line ---


@pytest.mark.slow
def test_command_line(server, tmp_path):
    """The process serves its own table of checksums, put in before the command line runs."""
    table = f"from experiments.fetch import sources; sources.SOURCES['mnist'] = sources.Source((), {SHA256}, 1)"
    start = f"import runpy; {table}; runpy.run_module('experiments.run', run_name='__main__', alter_sys=True)"
    words = (f"data.folder={tmp_path / 'data'}", f"experiment.url={server.url}", f"hydra.run.dir={tmp_path / 'out'}")
    result = subprocess.run(
        [sys.executable, "-c", start, "+exp=fetch", "data=mnist", "experiment.retries=0", *words], cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("HNTK_", "WANDB_"))}, capture_output=True,
        text=True, timeout=100, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert snapshot(tmp_path / "data" / "mnist") == ZIPPED
    assert (tmp_path / "out" / "files.csv").read_text().count("fetched") == 4
    assert not (tmp_path / "out" / "wandb").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("HNTK_DATA"), reason="HNTK_DATA names no data folder")
def test_the_real_files_pass_the_checksums_of_the_table(run, tmp_path):
    found = find_idx_files(Path(os.environ["HNTK_DATA"]) / "mnist")
    served = StandIn({NAMES[key]: path.read_bytes() for key, (path,) in found.items()})
    try:
        run(f"experiment.url={served.url}", folder=tmp_path)
    finally:
        served.stop()
    for key, (path,) in found.items():
        with open_unzipped(path) as given, open_unzipped(tmp_path / "mnist" / NAMES[key]) as arrived:
            assert given.read() == arrived.read()
    assert load_dataset("mnist", folder=tmp_path, n_train=1000, n_test=10).x_train.shape == (1000, 784)
