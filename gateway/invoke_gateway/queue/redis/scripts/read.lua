-- read: read events. ARGV: session, events. Returns of each that exists: event, head, body, claimed (0 or 1).
local reply = {}
for i = 2, #ARGV do
  local head, body = read(ARGV[i])
  if head then
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] = ARGV[i], head, body
    reply[at + 4] = call('HEXISTS', CLAIMS, ARGV[i])
  end
end
return reply
