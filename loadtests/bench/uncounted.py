"""Starts the gateway without its counting, to measure the cost of counting. It has no metrics; for benchmarks only."""

from invoke_gateway.cli.main import main
from invoke_gateway.exchange import Exchange
from invoke_gateway.telemetry.totals import Totals


def record(self: Totals, exchange: Exchange) -> None:
    """Counts nothing."""


if __name__ == "__main__":
    Totals.record = record
    main(prog_name="invoke-gateway")
