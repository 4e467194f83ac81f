-- search: find events whose head has a text. ARGV: session, the number of the event to begin after, the number of the last
-- event to read or 0 for the newest, how many to read, the text.
-- Returns the number of the last event that was read, or nothing at the end; the number of the last event to read; the number
-- of bytes that were read; and then the events.
local UP_TO = tonumber(ARGV[3])
if UP_TO == 0 then
  UP_TO = tonumber(call('GET', SEQ) or 0)
end
local found = call('XRANGE', EVENTS, '(' .. ARGV[2] .. '-0', string.format('%.0f-0', UP_TO), 'COUNT', ARGV[4])
local reply, bytes = { false, string.format('%.0f', UP_TO), 0 }, 0
for _, entry in ipairs(found) do
  local number = string.match(entry[1], '^%d+')
  bytes = bytes + #entry[2][2] + #entry[2][4]
  if string.find(entry[2][2], ARGV[5], 1, true) then
    reply[#reply + 1] = string.format('%016.0f', tonumber(number))
  end
  reply[1] = number
end
reply[3] = bytes
return reply
