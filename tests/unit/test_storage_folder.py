"""Files appear whole or not at all, inside the storage, and crashed processes leave nothing for long."""

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from replibatch.errors import OutputPathError, ReferenceImageError, SettingsError, StorageError
from replibatch.outputs.placeholder import placeholder
from replibatch.outputs.save import save_placeholder
from replibatch.requests import OutputFile
from replibatch.storage import atomic as staging
from replibatch.storage.folder import Folder
from replibatch.storage.names import numbered
from replibatch.storage.storage import open_storage
from replibatch.storage.stored import StoredFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def folder(root: Path) -> Folder:
    return Folder(root)


def put(folder: Folder, key: str, content: bytes, *, overwrite: bool = True) -> bool:
    with folder.staging(key) as stage:
        stage.path.write_bytes(content)
        return stage.commit(overwrite=overwrite)


def files_under(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_file_appears_whole_under_its_name(folder: Folder, root: Path) -> None:
    with folder.staging("a/b/fox.png") as stage:
        stage.path.write_bytes(b"half")
        assert stage.path.parent.resolve() == root / "a/b", "a rename within one folder is one step"
        assert stage.path.name.startswith(".")
        assert not (root / "a/b/fox.png").exists()
        stage.path.write_bytes(b"whole")
        assert stage.commit()
    assert (root / "a/b/fox.png").read_bytes() == b"whole"
    assert files_under(root) == ["a/b/fox.png"]


def test_what_is_not_committed_leaves_nothing(folder: Folder, root: Path) -> None:
    put(folder, "fox.png", b"old")
    with pytest.raises(RuntimeError), folder.staging("fox.png") as stage:
        stage.path.write_bytes(b"new")
        raise RuntimeError
    assert files_under(root) == ["fox.png"]
    assert (root / "fox.png").read_bytes() == b"old"


def test_files_have_the_permissions_of_any_other(folder: Folder, root: Path) -> None:
    put(folder, "fox.png", b"fox")
    (root / "other").write_bytes(b"")
    assert (root / "fox.png").stat().st_mode == (root / "other").stat().st_mode


def test_commit_replaces_only_where_it_may(folder: Folder, root: Path) -> None:
    assert put(folder, "fox.png", b"1", overwrite=False)
    assert not put(folder, "fox.png", b"2", overwrite=False)
    assert (root / "fox.png").read_bytes() == b"1"
    assert put(folder, "fox.png", b"3")
    assert (root / "fox.png").read_bytes() == b"3"
    assert files_under(root) == ["fox.png"]


def test_nothing_is_replaced_on_a_file_system_without_hard_links(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert put(folder, "fox.png", b"1", overwrite=False)
    assert not put(folder, "fox.png", b"2", overwrite=False)
    assert (root / "fox.png").read_bytes() == b"1"


def test_of_many_that_may_not_replace_one_wins(folder: Folder, root: Path) -> None:
    start = threading.Barrier(8)
    won: list[bytes] = []

    def race(number: int) -> None:
        content = str(number).encode()
        start.wait()
        if put(folder, "fox.png", content, overwrite=False):
            won.append(content)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [(root / "fox.png").read_bytes()]


def test_a_name_of_the_full_length_can_be_staged(folder: Folder, root: Path) -> None:
    for name in ("x" * 251 + ".png", "狐" * 83 + ".png"):
        put(folder, name, b"fox")
        assert (root / name).exists()


def test_a_killed_process_leaves_a_part_that_is_cleared_a_day_later(root: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from replibatch.storage.folder import Folder\n"
        "with Folder(Path(sys.argv[1])).staging('fox.png') as stage:\n"
        "    stage.path.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", script, str(root)], check=False).returncode == -9
    old, young = sorted(root.iterdir())
    theirs = root / ".notes.part"
    theirs.write_bytes(b"not ours")
    a_day_ago = time.time() - staging.LEFTOVER_SECONDS - 60
    for path in (old, theirs):
        os.utime(path, (a_day_ago, a_day_ago))
    put(Folder(root), "wolf.png", b"wolf")
    assert set(root.iterdir()) == {young, theirs, root / "wolf.png"}


def test_nothing_leaves_the_storage(folder: Folder, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    for key in ("../fox.png", "a/../../fox.png", "link/fox.png", str(tmp_path / "fox.png"), "a/..", ".."):
        with pytest.raises(OutputPathError, match=r"outside|is a folder"):
            put(folder, key, b"fox")
    assert not (tmp_path / "fox.png").exists()


def test_a_link_in_a_file_s_place_is_replaced_not_followed(folder: Folder, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (root / "fox.png").symlink_to(tmp_path / "precious")
    put(folder, "fox.png", b"fox")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (root / "fox.png").read_bytes() == b"fox"


def test_links_inside_and_a_root_that_is_a_link_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    (tmp_path / "real/alias").symlink_to("inner")
    put(Folder(tmp_path / "root"), "alias/fox.png", b"fox")
    assert (tmp_path / "real/inner/fox.png").read_bytes() == b"fox"


def test_absolute_paths_where_they_are_allowed(root: Path, tmp_path: Path) -> None:
    put(Folder(root, absolute_ok=True), str(tmp_path / "elsewhere/fox.png"), b"fox")
    assert (tmp_path / "elsewhere/fox.png").read_bytes() == b"fox"


def test_a_folder_is_no_place_for_a_file(folder: Folder, root: Path) -> None:
    (root / "fox.png").mkdir(parents=True)
    with pytest.raises(OutputPathError, match=r"'fox\.png' is a folder"):
        put(folder, "fox.png", b"fox")


def test_fetch_brings_a_file_over(folder: Folder, root: Path, tmp_path: Path) -> None:
    put(folder, "fox.png", b"fox")
    folder.fetch("fox.png", tmp_path / "home/deep/fox.png")
    before = (root / "fox.png").stat()
    folder.fetch("fox.png", root / "fox.png")  # where it is already
    assert (root / "fox.png").stat().st_ino == before.st_ino
    assert (tmp_path / "home/deep/fox.png").read_bytes() == b"fox"
    assert files_under(root) == ["fox.png"]
    with pytest.raises(FileNotFoundError):
        folder.fetch("wolf.png", tmp_path / "home/wolf.png")
    assert files_under(tmp_path / "home") == ["deep/fox.png"]


def test_reference_images_are_kept_by_content(folder: Folder, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    content = (tmp_path / "red.png").read_bytes()
    reference = folder.keep_input([content], "png")
    assert reference == f"file:{hashlib.sha256(content).hexdigest()}.png"
    assert folder.keep_input([content[:10], content[10:]], "JPG") == reference, "the bytes count, not the name"
    with folder.open_input(reference) as kept:
        assert kept.read_bytes() == content
        assert len(list(kept.parent.iterdir())) == 1


def test_reference_images_of_other_formats_keep_their_extension(folder: Folder, tmp_path: Path) -> None:
    for told, extension in ((".SVG", "svg"), (".very-long-one", "bin"), ("", "bin")):
        assert folder.keep_input([b"\0\1\2" if extension == "bin" else b"<svg/>"], told).endswith(f".{extension}")


def test_reference_images_can_be_kept_elsewhere(root: Path, tmp_path: Path) -> None:
    folder = Folder(root, inputs_root=tmp_path / "inputs")
    with folder.open_input(folder.keep_input([b"red"], "png")) as kept:
        assert kept.parent.resolve() == tmp_path / "inputs"
    assert not root.exists()


def test_reference_images_are_removed_unless_they_were_kept_again(folder: Folder, root: Path) -> None:
    old, used = folder.keep_input([b"old"], "png"), folder.keep_input([b"used"], "png")
    theirs = root / ".replibatch/inputs/notes.txt"
    theirs.write_text("not ours")
    for path in theirs.parent.iterdir():
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    folder.keep_input([b"used"], "png")
    assert folder.remove_inputs(500) == 1
    assert sorted(path.name for path in theirs.parent.iterdir()) == sorted([used[5:], "notes.txt"])
    with pytest.raises(ReferenceImageError), folder.open_input(old):
        pass
    assert Folder(root / "nothing").remove_inputs(0) == 0


def test_a_folder_keeps_the_identity_it_was_given_first(folder: Folder, root: Path) -> None:
    assert folder.identity() is None
    assert not root.exists()
    assert folder.mark("one") == "one" == Folder(root).mark("two") == Folder(root).identity()


def test_a_stored_file_is_read_from_the_storage_in_every_way(folder: Folder) -> None:
    content = os.urandom(3_000_000)
    put(folder, "a/fox.png", content)
    digest = hashlib.sha256(content).hexdigest()
    file = StoredFile.of(OutputFile("a/fox.png", "https://there/fox.png", digest, 3_000_000), folder)

    async def asynchronously() -> tuple[bytes, bytes]:
        return await file.aread(), b"".join([chunk async for chunk in file])

    assert file.read() == content == b"".join(file)
    assert asyncio.run(asynchronously()) == (content, content)
    assert max(map(len, file)) < 3_000_000
    assert (file.path, file.url) == ("a/fox.png", "https://there/fox.png")
    assert json.loads(json.dumps(asdict(file))) == vars(OutputFile(file.path, file.url, digest, 3_000_000))


@pytest.mark.parametrize("size", [0, 10, 3_000_000, 20_000_000])
def test_of_a_file_that_another_was_written_over_nothing_whole_is_handed_on(folder: Folder, size: int) -> None:
    own, another = os.urandom(size), os.urandom(size + 1)
    put(folder, "fox.png", another)
    file = StoredFile.of(OutputFile("fox.png", None, hashlib.sha256(own).hexdigest(), size), folder)
    handed_on = 0
    with pytest.raises(StorageError, match="another was written over it; expected: an output name of its own"):
        for chunk in file:
            handed_on += len(chunk)
    assert handed_on < size or size == 0


@pytest.mark.parametrize("reference", [f"file:{'0' * 64}.png", "file:../../etc/passwd", "https://x/y.png", "file:"])
def test_a_reference_image_that_is_not_there_is_said(folder: Folder, reference: str) -> None:
    with pytest.raises(ReferenceImageError, match="is not in"), folder.open_input(reference):
        pass


def test_writable_or_the_reason(tmp_path: Path) -> None:
    Folder(tmp_path).check_writable()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"storage '.*/file/sub' cannot be written: Not a directory"):
        Folder(tmp_path / "file/sub").check_writable()
    assert files_under(tmp_path) == ["file"]


def test_storage_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = {
        None: tmp_path,
        "out": tmp_path / "out",
        str(tmp_path / "abs"): tmp_path / "abs",
        f"file://{tmp_path}/with%20space": tmp_path / "with space",
        "~/pictures": tmp_path / "home/pictures",
    }
    for url, place in places.items():
        storage = open_storage(url, tmp_path, scratch=tmp_path / "scratch")
        with storage.staging("fox.png") as stage:
            assert stage.path.parent.resolve() == place


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://key:secret@bucket/prefix", r"'s3://bucket/prefix' with more .* allowed: s3://bucket/prefix"),
        ("s3:///prefix", r"'s3:///prefix' with more or less"),
        ("ftp://host", r"'ftp://host'; allowed: a folder or s3://"),
        ("file://otherhost/share", "'file://otherhost'; allowed"),
    ],
)
def test_other_storages_are_refused_without_their_secrets(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        open_storage(url, tmp_path, scratch=tmp_path / "scratch")
    assert "secret" not in str(refused.value)


def test_without_its_extra_s3_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError, match=r"'s3://b', which needs an extra: pip install replibatch\[s3\]"):
        open_storage("s3://b", tmp_path, scratch=tmp_path / "scratch")


def test_obstore_is_imported_only_where_it_is_used() -> None:
    script = (
        "import sys, replibatch.producer, replibatch.worker.tasks; "
        "print([name for name in sys.modules if 'obstore' in name])"
    )
    environment = {**os.environ, "REPLIBATCH_REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_placeholder_replaces_nothing(folder: Folder, root: Path) -> None:
    put(folder, "fox.png", b"a real fox")
    assert save_placeholder(key="fox.png", storage=folder) is None
    assert (root / "fox.png").read_bytes() == b"a real fox"


def test_a_placeholder_twice_is_the_same_file(folder: Folder, root: Path) -> None:
    first = save_placeholder(key="a/fox.jpg", storage=folder)
    assert first is not None
    assert save_placeholder(key="a/fox.jpg", storage=folder) == first
    assert first.path == "a/fox.jpg"
    assert first.url is None
    content = (root / "a/fox.jpg").read_bytes()
    assert content == placeholder("fox.jpg")
    assert first.sha256 == hashlib.sha256(content).hexdigest()
    assert first.size_bytes == len(content)


def test_no_placeholder_where_none_can_be(folder: Folder, root: Path) -> None:
    assert save_placeholder(key="clip.mp4", storage=folder) is None
    with pytest.raises(OutputPathError):
        save_placeholder(key="../fox.png", storage=folder)
    assert not root.exists()


def test_numbered_keys_stay_where_they_are(folder: Folder, root: Path) -> None:
    for key in numbered("a/fox.png", 2):
        put(folder, key, b"fox")
    assert files_under(root) == ["a/fox_1.png", "a/fox_2.png"]
