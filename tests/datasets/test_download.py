import hashlib
import io
import threading
import urllib.request
import zipfile
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.download import fetch
from pipeline.datasets.public import KNOWN, known
from pipeline.errors import DataError

RATINGS = b"1::10::4::1000000000\n2::10::5::1000000001\n"


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def serving(content: bytes):
    return lambda _: closing(io.BytesIO(content))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


GOOD = archive(**{"ml-1m/ratings.dat": RATINGS, "ml-1m/README": b"terms", "other/file": b"not wanted"})


def test_over_http_into_a_readable_folder(tmp_path):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(GOOD)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            seen: list[int] = []
            url = f"http://127.0.0.1:{server.server_port}/"
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            folder = fetch("ml-1m", tmp_path / "new", sha256(GOOD).upper(), lambda _: direct.open(url), seen.append)
        finally:
            server.shutdown()
            thread.join()
    assert len(read_dataset(folder).interactions) == 2
    assert sorted(f.name for f in folder.iterdir()) == ["README", "ratings.dat"]
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["ml-1m"]
    assert seen[-1] == len(GOOD)


def test_a_wrong_checksum_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=f"has sha256 {sha256(GOOD)}, expected {KNOWN['ml-1m'].sha256}"):
        fetch("ml-1m", tmp_path, opener=serving(GOOD))
    assert list(tmp_path.iterdir()) == []


def test_without_checksum_on_record_nothing_is_opened(tmp_path):
    def opener(url):
        raise AssertionError(url)

    with pytest.raises(DataError, match="--sha256"):
        fetch("movietweetings", tmp_path, opener=opener)
    with pytest.raises(DataError, match="64 hexadecimal digits"):
        fetch("movietweetings", tmp_path, "abc", opener)


@pytest.mark.parametrize("name", ["ml-1m/../../evil", "/evil", "ml-1m/..\\evil", "C:/evil"])
def test_an_archive_that_reaches_out_is_refused_whole(tmp_path, name):
    hostile = archive(**{"ml-1m/ratings.dat": RATINGS, name: b"x"})
    with pytest.raises(DataError, match="wants to write to"):
        fetch("ml-1m", tmp_path / "out", sha256(hostile), serving(hostile))
    assert not list(tmp_path.rglob("*evil*"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "cannot be unpacked"),
        (archive(**{"else/where": b""}), "nothing below ml-1m/"),
        (GOOD[:60] + GOOD[70:], "cannot be unpacked"),
    ],
)
def test_a_useless_archive_says_so(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        fetch("ml-1m", tmp_path, sha256(content), serving(content))


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "ml-1m").mkdir()
    with pytest.raises(DataError, match="is there already"):
        fetch("ml-1m", tmp_path, opener=serving(GOOD))


def test_no_connection_is_an_error_with_the_address(tmp_path):
    def opener(_):
        raise OSError("unreachable")

    with pytest.raises(DataError, match=r"ml-1m\.zip could not be downloaded: unreachable"):
        fetch("ml-1m", tmp_path, opener=opener)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match="ml-latest-small, ml-1m, movietweetings"):
        known("ml-2m")
