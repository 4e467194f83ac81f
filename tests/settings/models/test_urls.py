"""URLs: of stores, of targets, and the origins of web pages."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from invoke_gateway.settings import (
    load,
)
from invoke_gateway.settings.models.types import TargetUrl
from tests.settings.reading import problem_of, write


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://secret@host", "begins with redis://"),
        ("redis://:secret@:1", "names no host"),
        ("redis://:secret@host:99999", "a port that is none"),
        ("redis://:secret@one,two", "names several hosts"),
        ("redis+sentinel://:secret@one,two", "lacks the name of the primary"),
        ("redis+sentinel://:secret@one,two:0/mymaster", "a port that is none"),
        ("redis+sentinel://:secret@one/mymaster/first", "not the number of a database"),
        ("redis+cluster://:secret@one,,two", "names no host"),
        ("redis+cluster://:secret@one/1", "a cluster has only 0"),
        ("redis+ring://:secret@one", "begins with redis://"),
        ("redis://:secret@host/first", "not the number of a database"),
        ("redis://:secret@host#1", "after a #"),
        ("unix://", "names no socket"),
        ("valkey", "begins with redis://"),
    ],
)
def test_a_wrong_url_of_counters_is_refused_without_repeating_what_may_be_a_password(
    tmp_path: Path, url: str, what: str
) -> None:
    problem = problem_of(tmp_path, f"counters: {json.dumps(url)}")
    assert problem.key == "counters"
    assert what in problem.message
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:p%40ss@[::1]:6379/0",
        "rediss://host?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/valkey.sock?db=0",
        "redis+sentinel://user:p%40ss@s1,s2:26379,[::1]:26379/mymaster/0?sentinel_password=other",
        "rediss+sentinel://s1/mymaster",
        "redis+cluster://user:pass@h1:6379,h2",
        "rediss+cluster://h1:6379/0",
    ],
)
def test_the_urls_of_servers_sentinels_and_clusters_are_taken_as_they_are(tmp_path: Path, url: str) -> None:
    assert load(write(tmp_path, f"counters: {json.dumps(url)}"), {}).counters == url


def test_a_wrong_target_of_events_is_refused_with_its_cure_and_a_right_one_is_taken_as_it_is() -> None:
    reader = TypeAdapter(TargetUrl)
    assert reader.validate_python("redis://:secret@h/0?stream=a") == "redis://:secret@h/0?stream=a"
    with pytest.raises(ValidationError) as raised:
        reader.validate_python("redis://:secret@h/0")
    context = raised.value.errors()[0]["ctx"]
    ((message, cure, _),) = context["mistakes"]
    assert message == "does not say which stream"
    assert "?stream=name" in cure
    assert "secret" not in json.dumps(context)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("redis:/h:6379/0", "write redis://h:6379/0"),
        ("redis//h", "write redis://h"),
        ("redis:h:6379", "write redis://h:6379"),
        ("Redis://h", "write redis://h"),
        ("redis+sentinal://a,b/mymaster", "write redis+sentinel://a,b/mymaster"),
        ("http://h:6379", "write redis://h:6379"),
        ("valkeys://h", "write rediss://h"),
        ("h:6379", "write redis://h:6379"),
        ("unix:/run/valkey.sock", "write unix:///run/valkey.sock"),
        ("unix://run/valkey.sock", "write unix:///run/valkey.sock"),
        ("unix://:secret@host/valkey.sock", "write three slashes"),
        ("redis//:secret@h", "write redis://127.0.0.1:6379/0"),
    ],
)
def test_the_cure_of_a_damaged_url_of_counters_is_the_url_that_was_meant(tmp_path: Path, url: str, cure: str) -> None:
    problem = problem_of(tmp_path, f"counters: {json.dumps(url)}")
    assert problem.cure is not None
    assert problem.cure.startswith(cure)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("http//h:1", "write http://h:1"),
        ("http:/h", "write http://h"),
        ("htps://h", "write https://h"),
        ("https:///h/", "write https://h"),
        ("h:4566", "write http://h:4566"),
        ("ftp://h", "give an origin such as http://127.0.0.1:4566, or the word demo"),
    ],
)
def test_the_cure_of_a_damaged_url_of_the_backend_is_the_url_that_was_meant(
    tmp_path: Path, url: str, cure: str
) -> None:
    assert problem_of(tmp_path, f"backend: {{url: {json.dumps(url)}}}").cure == cure


@pytest.mark.parametrize(
    ("key", "url", "cure"),
    [
        ("async", "sqlite:/var/queue.db", "write sqlite:///var/queue.db"),
        ("async", "sqlite://var/queue.db", "write sqlite:///var/queue.db if the file is /var/queue.db"),
        ("control", "/var/control.json", "write file:///var/control.json"),
    ],
)
def test_the_cure_of_a_damaged_url_of_a_file_is_the_url_that_was_meant(
    tmp_path: Path, key: str, url: str, cure: str
) -> None:
    assert problem_of(tmp_path, json.dumps({key: {"store": url}})).cure == cure


@pytest.mark.parametrize(
    ("origin", "words", "cure"),
    [
        ("http://a/", "has something after the host", "write http://a: browsers send no path"),
        ("http://a:80/b?c", "has something after the host", "write http://a: browsers send no path"),
        ("HTTP://A", "is HTTP://A, which no browser sends", "write http://a"),
        ("https://a:443", "which no browser sends", "write https://a"),
        ("http://a:080", "which no browser sends", "write http://a"),
        ("null", "is null, the origin of every sandboxed page", "serve the page by a web server"),
        ("a.example", "must be an origin", "write http://a.example, or https:// where the page has it"),
        ("//a", "must be an origin", "such as http://localhost:3000"),
        ("", "must be an origin", "such as http://localhost:3000"),
        ("http://", "must be an origin", "such as http://localhost:3000"),
        ("http://é.example", "must be an origin", "such as http://localhost:3000"),
        ("http://a b", "must be an origin", "such as http://localhost:3000"),
        ("http://*.example", "has a wildcard", "list each origin"),
        ("http://a:0", "has the port 0", "such as http://localhost:3000"),
        ("http://a:65536", "has the port 65536", "such as http://localhost:3000"),
        ("http://me:secret@a", "carries a user name or password", "such as http://localhost:3000"),
    ],
)
def test_an_origin_is_what_browsers_send(tmp_path: Path, origin: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, json.dumps({"cors": {"allow_origins": ["https://first", origin]}}))
    assert problem.key == "cors.allow_origins.1"
    assert words in problem.message
    assert problem.cure is not None
    assert cure in problem.cure
    assert "secret" not in problem.message + problem.cure


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://app.example",
        "http://[::1]:8080",
        "http://127.0.0.1",
        "capacitor://localhost",
        "*",
    ],
)
def test_an_origin_as_browsers_send_it_is_taken(tmp_path: Path, origin: str) -> None:
    text = json.dumps({"cors": {"allow_origins": [origin]}})
    assert load(write(tmp_path, text)).cors.allow_origins == (origin,)
