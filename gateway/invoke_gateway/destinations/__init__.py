"""Telling what became of asynchronous invocations.

targets     which kind a target is, one bound on the time of all, and one error
message     what is to be told, before a kind says it its own way
sqs         a queue that speaks SQS
endpoint    an address to POST to
file        a file of JSON lines
stream      a stream of a Redis or Valkey
function    another function, through the gateway
"""
