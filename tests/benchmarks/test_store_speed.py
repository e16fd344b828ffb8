"""Up and down against a RADOS Gateway on this machine: the store beside boto3 in a loop, the AWS CLI and s3fs.

Each contender is a process of its own, so that its peak memory is its own. The AWS CLI takes part where `aws` is on the
PATH, s3fs where the variable S3FS_PYTHON names a Python that has it (it pins another botocore than ours).
STORE_SPEED_MB is the size of the large file, 1,000 by default.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_support import bucket

MB = int(os.environ.get("STORE_SPEED_MB", "1000"))
FILES = 2000

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
from components.common.store import download_folder, open_store, upload_folder
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
    from components.common.store import Store  # noqa: F401  (the first import compiles)

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
def test_speed(what: str, rgw_environment: None, tmp_path: Path) -> None:
    folder, copy = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    if what == "one large file":
        with (folder / "large").open("wb") as file:
            for _ in range(MB):
                file.write(os.urandom(10**6))
    else:
        for number in range(FILES):
            (folder / f"{number:04}").write_bytes(os.urandom(100_000))
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"\n{what}, {total:,.0f} MB      up MB/s  peak MiB   down MB/s  peak MiB")
    speeds: dict[str, list[float]] = {}
    name = bucket()
    for contender, python, up, down in contenders(name, folder, copy):
        for each in ("ours", "boto3", "aws", "s3fs"):
            (copy / each).mkdir(parents=True, exist_ok=True)
        results = []
        for code in (up, down):
            done = subprocess.run([python, "-c", MEASURE.format(code=code)], capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout))
        (up_seconds, up_peak), (down_seconds, down_peak) = results
        speeds[contender] = [total / up_seconds, total / down_seconds]
        print(f"{contender:28}{total / up_seconds:9.0f}{up_peak:10.0f}{total / down_seconds:12.0f}{down_peak:10.0f}")
        for path in copy.rglob("*"):
            if path.is_file():
                path.unlink()
    assert speeds["clinadapt"]
