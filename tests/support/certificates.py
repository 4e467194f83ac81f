"""Makes certificates for tests that speak TLS, with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .tools import OPENSSL


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Makes a self-signed certificate for an address or a name, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = "IP" if name[0].isdigit() else "DNS"
    command = [OPENSSL.require(), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={kind}:{name}"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key
