"""The dashboards as they lie in grafana/dashboards: what the code makes, and what their reader needs."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from grafana.build import DASHBOARDS as MADE
from grafana.build import render

from .expressions import DASHBOARDS, panels_of

READ = {path.name: json.loads(path.read_text()) for path in DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}") for name, read in READ.items() for panel in panels_of(read)
]
EACH = pytest.mark.parametrize("dashboard", [pytest.param(read, id=name) for name, read in READ.items()])


@pytest.mark.parametrize("name", MADE)
def test_a_dashboard_is_what_the_code_makes(name: str) -> None:
    assert (DASHBOARDS[0].parent / name).read_text() == render(name), "run `make dashboards`"


def test_there_are_no_others() -> None:
    assert sorted(READ) == sorted(MADE)


def test_no_two_have_one_uid_or_title() -> None:
    for key in ("uid", "title"):
        assert len({read[key] for read in READ.values()}) == len(READ)


@EACH
def test_all_lead_to_one_another_with_time_and_choices_kept(dashboard: dict[str, Any]) -> None:
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards"
    assert link["tags"] == dashboard["tags"] == ["invoke-gateway"]
    assert link["keepTime"]
    assert link["includeVars"]


@EACH
def test_the_data_source_is_chosen_and_everything_asks_it(dashboard: dict[str, Any]) -> None:
    chosen, *others = dashboard["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == ("datasource", "datasource", "prometheus")
    asks = [*others, *panels_of(dashboard), *(target for panel in panels_of(dashboard) for target in panel["targets"])]
    assert {asked["datasource"]["uid"] for asked in asks} == {"${datasource}"}


@EACH
def test_panels_do_not_overlap_and_fill_their_lines(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    for line in {place["y"] for place in places}:
        assert sum(place["w"] for place in places if place["y"] == line) == 24


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)


@pytest.mark.parametrize("panel", PANELS)
def test_a_rate_is_taken_over_what_grafana_finds_right_for_it(panel: dict[str, Any]) -> None:
    """A fixed window would be empty with long scrape intervals and coarse with short ones."""
    windows = re.findall(r"\[([^\]]*)\]", " ".join(target["expr"] for target in panel["targets"]))
    assert set(windows) <= {"$__rate_interval", "$__range"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_link_leads_to_a_dashboard_that_is_there_by_labels_that_the_series_have(panel: dict[str, Any]) -> None:
    for link in panel["fieldConfig"]["defaults"].get("links", []):
        uid = re.match(r"/d/([\w-]+)\?", link["url"])
        assert uid
        assert uid[1] in {read["uid"] for read in READ.values()}
        labels = set(re.findall(r"__field\.labels\.(\w+)", link["url"]))
        for target in panel["targets"]:
            by = re.search(r"by \(([^)]*)\)", target["expr"])
            assert by
            assert labels == set(by[1].split(", "))


@EACH
def test_what_the_panels_choose_by_can_be_chosen(dashboard: dict[str, Any]) -> None:
    chosen = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
    assert used == chosen
