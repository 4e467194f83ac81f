"""Reads the address of a listener: host:port."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from invoke_gateway.settings.descriptions import invalid_value

HIGHEST_PORT = 65535
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,5}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+:[0-9]{1,5}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Address:
    """Names the address of a listener; `str()` gives host:port, with an IPv6 host in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_reached_by(self, url: str) -> bool:
        """Returns whether a request to this http or https URL would arrive here, judged by names alone."""
        parts = urlsplit(url)
        if not self.port or self.port != (parts.port or {"http": 80, "https": 443}.get(parts.scheme)):
            return False
        host = parts.hostname or ""
        return host == self.host or (host in _LOOPBACK and self.host in _LOOPBACK | _EVERYWHERE)


def read_address(value: object) -> Address:
    """Reads a host:port text."""
    if isinstance(value, Address):
        return value
    example = "write host:port, such as 127.0.0.1:9001"
    if not isinstance(value, str):
        is_port = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= HIGHEST_PORT
        cure = f"write 127.0.0.1:{value}, or 0.0.0.0:{value} for every interface" if is_port else example
        raise invalid_value("must be host:port", f"{cure}; quotes are needed around [::1]:9001")
    if "://" in value or value.endswith("/"):
        parts = urlsplit(value if "://" in value else f"//{value}")
        cure = f"write {parts.netloc}" if _PLAIN.fullmatch(parts.netloc) else example
        raise invalid_value(f"must be host:port, without a scheme and a path; it is {value!r}", cure)
    host, colon, port = value.rpartition(":")
    if not host and _PORT.fullmatch(port):
        cure = f"write 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface"
        raise invalid_value(f"must be host:port; it is {value!r}", cure)
    if not colon or not host:
        raise invalid_value(f"must be host:port; it is {value!r}", f"{example}, or 0.0.0.0:9001 for every interface")
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= HIGHEST_PORT and len(port) <= 5):
        raise invalid_value(f"has the port {port!r}; a port is a number from 0 to 65535", example)
    return Address(_read_host(host), int(port))


def _read_host(text: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    is_ipv6 = _is_ipv6(host)
    if is_ipv6 and host == text:
        raise invalid_value(f"has the IPv6 host {host} without brackets", f"write [{host}]:9001, in quotes")
    if not is_ipv6 and (host != text or not _HOST_NAME.fullmatch(host)):
        raise invalid_value(f"has the host {text!r}, which is no name or address", "give a name or address")
    return host


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True
