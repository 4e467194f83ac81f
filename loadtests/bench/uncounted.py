"""The gateway with its counting taken out, to see what counting costs. It tells no metrics; for benchmarks only."""

from invoke_gateway.cli.main import main
from invoke_gateway.exchange import Exchange
from invoke_gateway.telemetry.totals import Totals


def note(self: Totals, exchange: Exchange) -> None:
    """Count nothing."""


if __name__ == "__main__":
    Totals.note = note
    main(prog_name="invoke-gateway")
