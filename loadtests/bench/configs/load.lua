-- wrk sends the bytes of one file; with a count above 1 the function's name in them varies pseudo-randomly.
-- wrk -s load.lua URL -- FILE COUNT
local text, head, tail, count

function init(args)
  local file = assert(io.open(args[1], "rb"))
  text = file:read("*a")
  file:close()
  count = tonumber(args[2])
  head, tail = text:match("^(.-)function%-0000000(.*)$")
  math.randomseed(20150331)
end

function request()
  if head == nil then return text end
  return head .. string.format("function-%07d", math.random(0, count - 1)) .. tail
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "failed": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
