"""Up and down against a RADOS Gateway on this machine: the store beside boto3 in a loop, the AWS CLI and s3fs.

Each contender is a process of its own, so that its peak memory is its own, and begins with as much memory at hand: a
virtual machine may have to ask its host for what was freed before. Nothing is deleted between them: ext4 is slow to
reuse what was just freed. The AWS CLI takes part where `aws` is on the PATH, s3fs where the variable S3FS_PYTHON names
a Python that has it (it pins another botocore than ours).
STORE_SPEED_MB is the size of the large file, 1,000 by default; CLINADAPT_ROUNDS (4) rounds begin with another each.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_support import bucket, free_memory, rados_gateway
from support import spread

MB = int(os.environ.get("STORE_SPEED_MB", "1000"))
FILES = 2000
ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "4"))

MEASURE = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps([seconds, usage / 1024]))
"""
OURS = """
from clinadapt.storage import open_store
from clinadapt.storage.transfer import download_folder, upload_folder
store = open_store("s3://{bucket}")
{call}(store, *{arguments})
"""
BOTO3_UP = """
import boto3
client, folder = boto3.client("s3"), Path("{folder}")
for path in sorted(folder.iterdir()):
    client.upload_file(str(path), "{bucket}", "{prefix}/" + path.name)
"""
BOTO3_DOWN = """
import boto3
client = boto3.client("s3")
for page in client.get_paginator("list_objects_v2").paginate(Bucket="{bucket}", Prefix="{prefix}/"):
    for item in page["Contents"]:
        client.download_file("{bucket}", item["Key"], "{copy}/" + item["Key"].split("/")[-1])
"""
AWS = """
import subprocess
subprocess.run(["aws", "s3", "cp", "--recursive", "--only-show-errors", "{source}", "{target}"], check=True)
"""
S3FS = """
import os, s3fs
system = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])
system.{call}("{source}/", "{target}/", recursive=True)
"""


def contenders(name: str, folder: Path, copy: Path) -> Iterator[tuple[str, str, str, str]]:
    """(name, python, code that uploads, code that downloads) of each contender that is here."""

    def ours(call: str, *arguments: str) -> str:
        listed = [f"Path({a!r})" if "/" in a else repr(a) for a in arguments]
        return OURS.format(bucket=name, call=call, arguments=f"({', '.join(listed)},)")

    python = sys.executable
    yield (
        "clinadapt",
        python,
        ours("upload_folder", str(folder), "ours"),
        ours("download_folder", "ours", f"{copy}/ours"),
    )
    facts = {"bucket": name, "folder": folder, "prefix": "boto3", "copy": copy / "boto3"}
    yield "boto3 in a loop", python, BOTO3_UP.format(**facts), BOTO3_DOWN.format(**facts)
    if shutil.which("aws"):
        there, back = f"s3://{name}/aws", str(copy / "aws")
        yield "aws s3 cp", python, AWS.format(source=folder, target=there), AWS.format(source=there, target=back)
    if other := os.environ.get("S3FS_PYTHON"):
        there, back = f"{name}/s3fs", str(copy / "s3fs")
        up, down = (
            S3FS.format(call="put", source=folder, target=there),
            S3FS.format(call="get", source=there, target=back),
        )
        yield "s3fs", other, up, down


@pytest.mark.parametrize("what", ["one large file", "many small files"])
def test_speed(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(1 if what == "one large file" else FILES):
        with (folder / f"{number:04}").open("wb") as file:
            for _ in range(10 * MB if what == "one large file" else 1):
                file.write(os.urandom(100_000))
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    found: dict[str, list[tuple[float, ...]]] = {}
    for number in range(ROUNDS):
        home = tmp_path / f"rgw-{number}"
        home.mkdir()
        with rados_gateway(home) as environment:  # a fresh one: Ceph keeps what is overwritten for hours
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            free_memory(monkeypatch)
            out = tmp_path / f"out-{number}"
            for each in ("ours", "boto3", "aws", "s3fs"):
                (out / each).mkdir(parents=True)
            those = list(contenders(bucket(), folder, out))
            for contender, python, *ways in those[number % len(those) :] + those[: number % len(those)]:
                found.setdefault(contender, []).append(tuple(value for code in ways for value in measure(python, code)))
            copies = [path for path in out.rglob("*") if path.is_file()]
            assert sorted(path.name for path in copies) == sorted(p.name for p in folder.iterdir() for _ in those)
            assert all(filecmp.cmp(path, folder / path.name, shallow=False) for path in copies)
    for number in range(ROUNDS):
        shutil.rmtree(tmp_path / f"out-{number}")
    print(f"\n{what}, {total:,.0f} MB, {ROUNDS} rounds: median (least to most); ours: how many times as fast we are")
    print(f"{'':18}{'up MB/s':>18}{'ours':>20}{'peak MiB':>10}{'down MB/s':>20}{'ours':>20}{'peak MiB':>10}")
    ours = found["clinadapt"]
    for contender, rounds in found.items():
        print(f"{contender:18}", end="")
        for way in (0, 2):
            speeds, peaks = [total / each[way] for each in rounds], [each[way + 1] for each in rounds]
            ratios = [theirs[way] / mine[way] for mine, theirs in zip(ours, rounds, strict=True)]
            print(f"{spread(speeds, '.0f'):>18}{spread(ratios, '.2f'):>20}{max(peaks):10.0f}", end="")
        print()


def measure(python: str, code: str) -> tuple[float, float]:
    """Seconds and peak memory in MiB of some code, in a process of its own."""
    subprocess.run([python, "-c", "b'1' * (3 << 30)"], check=True)  # memory at hand for whoever comes
    done = subprocess.run([python, "-c", MEASURE.format(code=code)], capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak
