"""Upload and download speed with a local RADOS Gateway: the store, boto3 in a loop, the AWS CLI and s3fs.

Each contender runs in its own process, for its own peak memory, after memory was allocated and freed: a virtual machine
may have to request it from its host. Nothing is deleted in between: ext4 reuses freed blocks slowly. The AWS CLI takes
part if `aws` is on the PATH, s3fs if S3FS_PYTHON is a Python that has it (it pins another botocore).
STORE_SPEED_MB: size of the large file, 1,000 by default. CLINADAPT_ROUNDS: rounds, 4 by default, each starting with
another contender.
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
    """(name, python, code to upload, code to download) of each available contender."""

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
    fields = {"bucket": name, "folder": folder, "prefix": "boto3", "copy": copy / "boto3"}
    yield "boto3 in a loop", python, BOTO3_UP.format(**fields), BOTO3_DOWN.format(**fields)
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
    results: dict[str, list[tuple[float, ...]]] = {}
    for number in range(ROUNDS):
        home = tmp_path / f"rgw-{number}"
        home.mkdir()
        with rados_gateway(home) as environment:  # a new one: Ceph keeps overwritten data for hours
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            free_memory(monkeypatch)
            out = tmp_path / f"out-{number}"
            for each in ("ours", "boto3", "aws", "s3fs"):
                (out / each).mkdir(parents=True)
            runs = list(contenders(bucket(), folder, out))
            for contender, python, *ways in runs[number % len(runs) :] + runs[: number % len(runs)]:
                results.setdefault(contender, []).append(
                    tuple(value for code in ways for value in measure(python, code))
                )
            copies = [path for path in out.rglob("*") if path.is_file()]
            assert sorted(path.name for path in copies) == sorted(p.name for p in folder.iterdir() for _ in runs)
            assert all(filecmp.cmp(path, folder / path.name, shallow=False) for path in copies)
    for number in range(ROUNDS):
        shutil.rmtree(tmp_path / f"out-{number}")
    print(f"\n{what}, {total:,.0f} MB, {ROUNDS} rounds: median (least to most); ours: how many times as fast we are")
    print(f"{'':18}{'up MB/s':>18}{'ours':>20}{'peak MiB':>10}{'down MB/s':>20}{'ours':>20}{'peak MiB':>10}")
    ours = results["clinadapt"]
    for contender, rounds in results.items():
        print(f"{contender:18}", end="")
        for way in (0, 2):
            speeds, peaks = [total / each[way] for each in rounds], [each[way + 1] for each in rounds]
            ratios = [theirs[way] / mine[way] for mine, theirs in zip(ours, rounds, strict=True)]
            print(f"{spread(speeds, '.0f'):>18}{spread(ratios, '.2f'):>20}{max(peaks):10.0f}", end="")
        print()


def measure(python: str, code: str) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of code in a new process."""
    subprocess.run([python, "-c", "b'1' * (3 << 30)"], check=True)  # memory for the next contender
    done = subprocess.run([python, "-c", MEASURE.format(code=code)], capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak
