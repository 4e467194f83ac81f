-- wrk sends the bytes of one file, and counts the answers with the wanted status and those with another.
-- wrk -t1 -s events.lua URL -- FILE STATUS
local text, wanted
local thread

function setup(one)
  thread = one
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  text = file:read("*a")
  file:close()
  wanted = tonumber(args[2])
  answered, other, example = 0, 0, 0
end

function request()
  return text
end

function response(status)
  if status == wanted then
    answered = answered + 1
  else
    other = other + 1
    example = status
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"accepted": %d, "other": %d, "example": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    thread:get("answered"), thread:get("other"), thread:get("example"),
    errors.connect + errors.read + errors.write + errors.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
