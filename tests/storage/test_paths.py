import ast
import copy
import pickle
import time
from pathlib import Path

import pytest

import filtertrack
from filtertrack import FiltertrackError
from filtertrack.storage.local import LocalPath
from filtertrack.storage.paths import StoragePath, is_address, path_of, remove_files
from filtertrack.storage.remote import RemotePath

PACKAGE = Path(filtertrack.__file__).parent
PATH_CLASSES = {"Path", "PurePath", "LocalPath", "RemotePath"}
DISTINGUISHES = {"storage/paths.py", "storage/local.py", "storage/remote.py"}
"""The modules that may know of which class a path is."""


@pytest.fixture(params=["disk", "object storage"])
def folder(request, tmp_path):
    """An empty folder."""
    if request.param == "object storage":
        return path_of(f"memory://paths/{request.node.name}")
    return path_of(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/run", "gs://b", "memory://run", "simplecache::s3://b/run", "abfs://c@a/run"],
)
def test_addresses_of_fsspec_are_addresses(text):
    """Also chained ones."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["runs/exp1", "/abs/run", "C:\\runs", "C:/runs", "C://runs", "a:b", "file:///run", ""]
)
def test_paths_on_disk_are_not_addresses(text):
    """Also those of another operating system, and those with ``file://``."""
    assert not is_address(text)
    assert isinstance(path_of(text), Path)


def test_path_of_accepts_text_path_and_file_scheme(tmp_path):
    """All are the same path, which equals the ``pathlib.Path``."""
    assert path_of(tmp_path) == path_of(str(tmp_path)) == path_of(f"file://{tmp_path}") == tmp_path
    assert hash(path_of(tmp_path)) == hash(tmp_path)


@pytest.mark.parametrize("text", ["s3:/bucket/run", "gs:/b", "memory:/run"])
def test_an_address_in_a_path_is_an_error(text):
    """The Path has removed a slash; the error says what to do."""
    with pytest.raises(FiltertrackError, match="give it as text"):
        path_of(Path(text))


def test_a_path_on_disk_stays_one_of_pathlib(tmp_path):
    """``Run.path`` and what is made from it: with all methods, also as a copy."""
    path = path_of(tmp_path)
    (path / "a.txt").write_text("a")
    for each in (path / "a.txt", next(path.glob("*")), next(path.iterdir()), path.resolve()):
        assert isinstance(each, LocalPath)
    for each in (copy.deepcopy(path), copy.copy(path), pickle.loads(pickle.dumps(path))):  # noqa: S301
        assert (each, type(each)) == (path, LocalPath)


@pytest.mark.parametrize("attribute", ["read", "write", "seek", "tell", "readinto", "fs"])
def test_a_path_on_disk_is_not_mistaken_for_a_file(attribute):
    """Libraries such as numpy take every object with ``read`` for an open file."""
    assert not hasattr(LocalPath("a"), attribute)


def test_an_address_is_a_path():
    """It has a name, a parent and parts, and is compared by its address."""
    path = path_of("memory://box/run")
    assert path_of(path) is path
    assert path_of(str(path)) == path
    assert hash(path_of(str(path))) == hash(path)
    assert path != path / "filters"
    assert (path / "filters").parent == path
    assert (path.name, path.parts) == ("run", ("memory://", "box", "run"))
    assert path.absolute() is path.resolve() is path
    assert repr(path) == "RemotePath('memory://box/run')"


@pytest.mark.parametrize("cls", [LocalPath, RemotePath])
def test_both_classes_have_the_whole_interface(cls):
    """Every method and attribute of ``StoragePath``."""
    names = {name for name in vars(StoragePath) if not name.startswith("_")}
    assert len(names) > 20
    assert names <= set(dir(cls))


def test_no_other_module_tests_the_class_of_a_path():
    """Disk and object storage differ in the classes of ``StoragePath`` only."""
    found = {
        str(file.relative_to(PACKAGE).as_posix())
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"isinstance", "issubclass"}
        and PATH_CLASSES & {getattr(each, "id", "") for each in ast.walk(node.args[1])}
    }
    assert found <= DISTINGUISHES
    assert found, "the test finds the tests there are"


def test_written_files_are_listed_and_read(folder):
    """With the same calls on disk and on object storage."""
    folder.check_writable()
    assert list(folder.names()) == []
    (folder / "a").write_whole(lambda file: file.write(b"first"))
    assert (folder / "a").exists()
    assert (folder / "a").is_file()
    assert not (folder / "b").is_file()
    assert list(folder.names()) == ["a"]
    assert folder.read_entry("a", lambda file: (file.read(), file.size)) == (b"first", 5)
    stamps, stamp = folder.stamps(), (folder / "a").stamp()
    assert list(stamps) == ["a"]
    assert folder.read_entry("a", lambda file: file.stamp) == stamp
    assert (folder.stamps(), (folder / "a").stamp()) == (stamps, stamp)
    time.sleep(0.02)  # file systems may count time in steps of 10 ms
    (folder / "a").write_whole(lambda file: file.write(b"other"))
    assert folder.stamps() != stamps
    assert (folder / "a").stamp() != stamp


def test_a_missing_file_is_an_error(folder):
    """Of Python's own class; one may be removed all the same."""
    for act in (
        lambda: folder.read_entry("a", lambda file: file.read()),
        (folder / "a").stamp,
        (folder / "a").unlink,
    ):
        with pytest.raises(FileNotFoundError):
            act()
    (folder / "a").unlink(missing_ok=True)


def test_a_file_that_is_too_large_is_damaged(folder):
    """The error names the file."""
    (folder / "a").write_whole(lambda file: file.write(b"123456"))
    with pytest.raises(FiltertrackError, match=r"a'.*6 bytes, expected at most 5"):
        folder.read_entry("a", lambda file: file.read(), most=5)


def test_upload_copies_a_file_of_any_size(folder, tmp_path_factory):
    """An existing file is replaced."""
    source = tmp_path_factory.mktemp("source") / "file"
    for content in (b"old", bytes(3 << 20)):
        source.write_bytes(content)
        (folder / "a").upload(source)
        assert folder.read_entry("a", lambda file: file.read()) == content
    assert list(folder.names()) == ["a"]


def test_remove_files_and_trees(folder):
    """Files by their names, and a folder with its content; missing folders are no error."""
    for name in ("a.tmp", "b"):
        (folder / name).write_whole(lambda file: file.write(b"x"))
    remove_files(folder, lambda name: name.endswith(".tmp"))
    assert list(folder.names()) == ["b"]
    below = folder / "below"
    below.make_folder()
    (below / "c").write_whole(lambda file: file.write(b"x"))
    assert folder.subfolders() == ["below"]
    for _ in range(2):
        below.remove_tree()
        remove_files(below, lambda _: True)
    assert list(folder.names()) == ["b"]


def test_contains(folder):
    """A folder contains itself and what lies below, but no folder whose name it begins."""
    assert folder.contains(folder)
    assert folder.contains(folder / "a" / "b")
    assert not folder.contains(folder.parent)
    assert not folder.contains(folder.parent / f"{folder.name}2")
    assert not folder.contains(path_of("memory://elsewhere"))
    assert not folder.contains(path_of("/elsewhere"))


def test_contains_follows_links(tmp_path):
    """A link out of the folder is outside, also where it points to nothing or to itself."""
    folder = path_of(tmp_path / "folder")
    (folder / "inner").mkdir(parents=True)
    (folder / "in").symlink_to(folder / "inner")
    (folder / "out").symlink_to(tmp_path)
    (folder / "nowhere").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    assert folder.contains(folder / "in")
    assert folder.contains(folder / "loop")
    assert not folder.contains(folder / "out")
    assert not folder.contains(folder / "nowhere")
    assert path_of("/").contains(folder)


def test_a_broken_link_is_an_error_that_says_so(tmp_path):
    """As left by DVC or git-annex until the file is fetched."""
    (tmp_path / "a").symlink_to(tmp_path / "nothing")
    with pytest.raises(FiltertrackError, match="is a link to a file that is not there"):
        path_of(tmp_path).read_entry("a", lambda file: file.read())


def test_blocking_file_is_the_file_among_the_ancestors(tmp_path):
    """None where a folder exists or can be made."""
    (tmp_path / "file").write_bytes(b"")
    assert path_of(tmp_path / "file" / "a" / "b").blocking_file() == tmp_path / "file"
    assert path_of(tmp_path / "file").blocking_file() == tmp_path / "file"
    assert path_of(tmp_path / "new" / "a").blocking_file() is None
    assert path_of("memory://any").blocking_file() is None
