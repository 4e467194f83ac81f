-- wrk sends the bytes of one file; with a count above 1 the function's name in them varies pseudo-randomly.
-- With a pause, in milliseconds, each connection waits so long before its next request.
-- wrk -s load.lua URL -- FILE COUNT PAUSE
local text, head, tail, count

function init(args)
  local file = assert(io.open(args[1], "rb"))
  text = file:read("*a")
  file:close()
  count = tonumber(args[2])
  head, tail = text:match("^(.-)function%-0000000(.*)$")
  math.randomseed(20150331)
  local pause = tonumber(args[3])
  if pause > 0 then
    -- by chance, or all connections would go on together
    delay = function() return math.floor(pause * 2 * math.random() + 0.5) end
  end
end

function request()
  if head == nil then return text end
  return head .. string.format("function-%07d", math.random(0, count - 1)) .. tail
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "failed": %d, "broken": %d,'
    .. ' "connect": %d, "read": %d, "write": %d, "timeout": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    errors.connect, errors.read, errors.write, errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
