# SPDX-License-Identifier: MIT OR Apache-2.0
"""tools/run.py passes a small job, and fails it with the right sentence once something is wrong."""
import os
import pathlib
import random
import re
import sys
import tempfile

import hosting
import pytest

sys.path.insert(0, str(hosting.REPOSITORY / "tools"))
import run  # noqa: E402

MARKED = "marked.bin"
MARK = random.Random(7).randbytes(3 * 512)  # on the volume once, in the data of the marked file


@pytest.fixture
def job(tmp_path, monkeypatch, capsys):
    """Runs the job with forty files; job() is the exit status and the last line. Nothing may be left but the image."""
    source, sockets = tmp_path / "source", tmp_path / "sockets"
    source.mkdir()
    sockets.mkdir()
    generator = random.Random(1)
    for i in range(40):
        path = source / f"directory {i % 5}" / f"file {i}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(generator.randbytes(i * 997))
    (source / MARKED).write_bytes(generator.randbytes(20000) + MARK + generator.randbytes(20000))
    monkeypatch.setattr(run, "SOURCES", (str(source),))
    monkeypatch.setattr(run, "WORK", tmp_path / "work")
    monkeypatch.setattr(run, "CLIENT_DEADLINE", hosting.DEADLINE)
    monkeypatch.setattr(tempfile, "tempdir", str(sockets))
    processes = []
    start = run.subprocess.Popen
    monkeypatch.setattr(run.subprocess, "Popen", lambda *words, **keywords: processes.append(start(*words, **keywords))
                        or processes[-1])

    def runs():
        status = run.main()
        lines = capsys.readouterr().out.splitlines()
        assert processes and all(process.returncode is not None for process in processes)
        assert not list(sockets.iterdir())
        assert [path.name for path in tmp_path.glob("work/*")] == ["ntfs.img"] * status
        return status, lines[-1]
    return runs


def before(monkeypatch, step, damage):
    """Damages the image, as damage(bytes) says, before a step of the job that takes the image first."""
    original = getattr(run, step)

    def damaged(image, *rest):
        data = bytearray(image.read_bytes())
        damage(data)
        image.write_bytes(data)
        return original(image, *rest)
    monkeypatch.setattr(run, step, damaged)


def overwrite_sector(data, offset):
    start = offset // 512 * 512
    assert any(data[start:start + 512])
    data[start:start + 512] = bytes(512)


def record_of(data, name):
    """Where the file record that has the name lies."""
    name = name.encode("utf-16-le")
    return next(start for start in range(0, len(data), 1024)
                if data[start:start + 4] == b"FILE" and name in data[start:start + 1024])


def test_files_come_back_and_the_verdict_counts_them(job, tmp_path):
    status, verdict = job()
    assert status == 0
    size = sum(path.stat().st_size for path in (tmp_path / "source").rglob("*") if path.is_file())
    assert verdict.startswith(f"run: PASS: 41 files, {size / run.MIB:.1f} MiB written and read back through "
                              "aero_virtio_blk.sys (x64): ")
    assert verdict.endswith(" interrupts, 0 findings; contents identical (SHA-256), file system clean")


def test_a_sector_of_a_file_lost_between_the_loads_fails(job, tmp_path, monkeypatch):
    before(monkeypatch, "read_files", lambda data: overwrite_sector(data, data.index(MARK) + 512))
    assert job() == (1, f"run: FAIL: {str(tmp_path)[1:]}/source/{MARKED}: read back with other contents")
    assert (tmp_path / "work" / "ntfs.img").exists()


def test_a_lost_file_record_fails_while_reading(job, monkeypatch):
    before(monkeypatch, "read_files", lambda data: overwrite_sector(data, record_of(data, MARKED)))
    status, verdict = job()
    assert status == 1
    assert verdict.startswith("run: FAIL: ntfs-nbd ended with status 1 and said: ntfs-nbd: cannot open /")


def test_a_lost_file_record_fails_the_check_of_the_file_system(job, monkeypatch):
    before(monkeypatch, "check_file_system", lambda data: overwrite_sector(data, record_of(data, MARKED)))
    status, verdict = job()
    assert status == 1
    assert re.fullmatch(r"run: FAIL: the file system is damaged: ntfsresize ended with status 1 and said: "
                        r"Cluster accounting failed at \d+ .*: extra cluster in \$Bitmap", verdict)


def test_a_lost_boot_sector_copy_fails_the_check_of_the_file_system(job, monkeypatch):
    before(monkeypatch, "check_file_system", lambda data: overwrite_sector(data, len(data) - 512))
    status, verdict = job()
    assert status == 1
    assert verdict == ("run: FAIL: the file system is damaged: ntfsfix ended with status 1 and said: "
                       "Checking the alternate boot sector... BAD")


def test_a_driver_that_is_not_there_fails(job, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "DRIVER", tmp_path / "no.sys")
    status, verdict = job()
    assert status == 1
    assert verdict.startswith("run: FAIL: storhost ended with status 2 and said: storhost: ")


def test_a_storhost_that_is_not_there_fails(job, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "STORHOST", tmp_path / "no-storhost")
    status, verdict = job()
    assert status == 1
    assert verdict.startswith("run: FAIL: cannot start no-storhost: ")


def test_a_client_that_writes_past_the_driver_fails(job, tmp_path, monkeypatch):
    client = tmp_path / "client"
    client.write_text('#!/bin/sh\necho "$(find "$3" -type f | wc -l) files,'
                      ' $(find "$3" -type f -exec cat {} + | wc -c) bytes"\n')
    client.chmod(0o755)
    monkeypatch.setattr(run, "CLIENT", client)
    status, verdict = job()
    assert status == 1
    assert verdict.startswith("run: FAIL: writing: only ")


def test_a_client_without_end_fails_at_its_deadline(job, tmp_path, monkeypatch):
    client = tmp_path / "client"
    client.write_text("#!/bin/sh\nexec sleep 60\n")
    client.chmod(0o755)
    monkeypatch.setattr(run, "CLIENT", client)
    monkeypatch.setattr(run, "CLIENT_DEADLINE", 0.2)
    assert job() == (1, "run: FAIL: client did not end within 0.2 seconds")


CLEAN = {"seed": 5, "death": None, "findings": 0, "finding": [], "resets": 0, "timeouts": 0}


@pytest.mark.parametrize("change, sentence", [
    ({"findings": 2, "finding": [{"rule": "srb-twice", "text": "completed twice"}, {}]},
     "writing: 2 findings (seed 5); the first is srb-twice: completed twice"),
    ({"death": "access violation at 0"}, "writing: the driver stopped: access violation at 0"),
    ({"resets": 1}, "writing: 1 resets (seed 5)"),
    ({"timeouts": 3}, "writing: 3 timeouts (seed 5)"),
], ids=["findings", "death", "resets", "timeouts"])
def test_what_the_report_blames_on_the_driver_fails(change, sentence):
    run.judge_report(CLEAN, "writing")
    with pytest.raises(run.Failed) as failure:
        run.judge_report({**CLEAN, **change}, "writing")
    assert str(failure.value) == sentence


def test_the_report_is_judged_even_when_the_client_failed(job, tmp_path, monkeypatch):
    """The driver's death is the cause, the client's sentence only its effect."""
    def judge(report, doing):
        raise run.Failed("the driver stopped")
    monkeypatch.setattr(run, "judge_report", judge)
    monkeypatch.setattr(run, "CLIENT", pathlib.Path("/bin/false"))
    assert job() == (1, "run: FAIL: the driver stopped (false ended with status 1 and said: nothing)")


@pytest.mark.parametrize("printed, sentence", [
    ("11  a\n", "b (and 1 more files): missing from the volume"),
    ("11  a\n22  b\n33  c\n44  d\n", "d: on the volume though nobody wrote it"),
    ("11  a\n22  b\n34  c\n", "c: read back with other contents"),
])
def test_sums_that_differ_are_named(printed, sentence):
    expected = {"a": "11", "b": "22", "c": "33"}
    run.compare_sums(expected, "11  a\n22  b\n33  c\n")
    with pytest.raises(run.Failed) as failure:
        run.compare_sums(expected, printed)
    assert str(failure.value) == sentence


def test_only_files_that_ntfs_can_name_are_chosen(tmp_path):
    for name in ("plain", "ünï ☃", ".hidden", "a.b", "MARK.h", "mark.h", "a:b", "q?", "back\\slash", "dot.", "space ",
                 "nul", "COM1.txt", "line\nbreak", "x" * 255, "NULL", "Sub/one", "sub/two"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("plain")
    os.mkfifo(tmp_path / "fifo")
    with open(os.fsencode(tmp_path) + b"/\xff", "w"):
        pass
    chosen = {path[len(str(tmp_path)) + 1:] for path in run.choose_files((str(tmp_path),))}
    assert len(chosen & {"MARK.h", "mark.h"}) == 1
    assert len(chosen & {"Sub/one", "sub/two"}) == 1
    assert chosen - {"MARK.h", "mark.h", "Sub/one", "sub/two"} == {
        "plain", "ünï ☃", ".hidden", "a.b", "x" * 255, "NULL"}


def test_the_choice_is_the_same_each_time_and_keeps_its_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FILES_MAX", 20)
    monkeypatch.setattr(run, "BYTES_MAX", 10000)
    monkeypatch.setattr(run, "LARGE", 2000)
    monkeypatch.setattr(run, "LARGE_BYTES_MAX", 6000)
    for i in range(60):
        (tmp_path / str(i)).write_bytes(bytes(2000 if i % 3 else 100))
    chosen = run.choose_files((str(tmp_path),))
    sizes = [pathlib.Path(path).stat().st_size for path in chosen]
    assert chosen == run.choose_files((str(tmp_path),))
    assert (sizes.count(2000), sizes.count(100)) == (3, 17)
