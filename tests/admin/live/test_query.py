"""A query of the live page has bounds, and what makes no sense is refused."""

from __future__ import annotations

import pytest

from invoke_gateway.admin.live.query import MOST_ROWS, BadLiveQuery, LiveQuery, read_live_query


def test_a_query_is_parsed() -> None:
    assert read_live_query({}) == LiveQuery()
    assert read_live_query({"search": "CheckOut", "account": "111122223333", "top": "7"}) == LiveQuery(
        "111122223333", "checkout", 7
    )
    assert read_live_query({"top": "999999", "search": "", "account": ""}) == LiveQuery(top=MOST_ROWS)
    assert read_live_query({"minutes": "60"}) == LiveQuery(minutes="60")


@pytest.mark.parametrize(
    "parameters", [{"top": "x"}, {"top": "-1"}, {"account": "1"}, {"search": "x" * 257}, {"minutes": "7"}]
)
def test_a_query_that_makes_no_sense_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(BadLiveQuery):
        read_live_query(parameters)
