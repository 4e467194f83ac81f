"""Delivers outcomes of asynchronous invocations to their targets.

targets     the choice by kind of target, one time bound, and one error message     the content of a delivery, before a
kind encodes it sqs         a queue that speaks SQS endpoint    an address that receives a POST file        a file of
JSON lines stream      a stream of a Redis or Valkey function    another function, through the gateway
"""
