"""A gateway for your own tests: what the fixtures of `pytest_invoke_gateway` do, also without pytest."""

from gateway.faulting import FaultFailed
from gateway.holding import HoldFailed
from gateway.testing.fault import Fault
from gateway.testing.gateway import GatewayFactory, InvokeGateway, running_gateway
from gateway.testing.hold import Hold
from gateway.testing.process import GatewayNotStarted

__all__ = [
    "Fault",
    "FaultFailed",
    "GatewayFactory",
    "GatewayNotStarted",
    "Hold",
    "HoldFailed",
    "InvokeGateway",
    "running_gateway",
]
