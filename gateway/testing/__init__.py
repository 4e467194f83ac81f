"""A gateway for your own tests: what the fixtures of `pytest_invoke_gateway` do, also without pytest."""

from gateway.holding import HoldFailed
from gateway.testing.gateway import GatewayFactory, Hold, InvokeGateway, running_gateway
from gateway.testing.process import GatewayNotStarted

__all__ = ["GatewayFactory", "GatewayNotStarted", "Hold", "HoldFailed", "InvokeGateway", "running_gateway"]
